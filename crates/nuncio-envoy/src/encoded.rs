//! A message in parts that are encoded already: what has not changed is not encoded again, and the
//! whole is put together once.

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// The body of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoded {
    parts: Vec<Bytes>,
    length: usize,
}

impl Encoded {
    pub(crate) fn of(message: &impl Message) -> Self {
        let mut encoded = Self::default();
        encoded.push(message.encode_to_vec().into());
        encoded
    }

    /// Adds fields that are encoded.
    pub(crate) fn push(&mut self, part: Bytes) {
        self.length += part.len();
        self.parts.push(part);
    }

    /// Adds a field: a message.
    pub(crate) fn field(&mut self, tag: u32, message: Self) {
        self.push(head(tag, message.length));
        self.length += message.length;
        self.parts.extend(message.parts);
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.length);
        for part in &self.parts {
            bytes.extend_from_slice(part);
        }
        bytes.freeze()
    }
}

/// What stands before a field of this length.
fn head(tag: u32, length: usize) -> Bytes {
    let mut head = Vec::with_capacity(12);
    put_head(tag, length, &mut head);
    head.into()
}

/// A field of bytes.
pub(crate) fn put_field(tag: u32, body: &[u8], into: &mut Vec<u8>) {
    put_head(tag, body.len(), into);
    into.extend_from_slice(body);
}

/// What stands before the body of a field.
pub(crate) fn put_head(tag: u32, length: usize, into: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(length as u64, into);
}

/// How long a field is with a body of this length.
pub(crate) fn field_length(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}
