//! A mistake at a field, because of which a resource is left out.

use nuncio_model::value::Invalid;
use nuncio_model::{Reason, Report};

use crate::store::Object;

pub(crate) struct Mistake {
    pub(crate) field: String,
    pub(crate) reason: Reason,
    pub(crate) what: Invalid,
}

impl Mistake {
    pub(crate) fn at(field: impl Into<String>) -> impl FnOnce(Invalid) -> Self {
        move |what| Self {
            field: field.into(),
            reason: Reason::InvalidValue,
            what,
        }
    }

    pub(crate) fn new(
        field: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::because(field, Reason::InvalidValue, message, help)
    }

    pub(crate) fn because(
        field: impl Into<String>,
        reason: Reason,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            reason,
            what: Invalid::new(message, help),
        }
    }

    pub(crate) fn report<T>(self, report: &mut Report, object: &Object<T>) {
        report
            .error(&object.at(self.field), self.reason, self.what.message)
            .help(self.what.help);
    }
}
