//! placeholder
use crate::{Settings, Store, Translation};
#[derive(Clone, Debug)]
pub struct RouteInfo;
pub fn translate(_: &Store, _: &Settings) -> Translation {
    Translation::default()
}
