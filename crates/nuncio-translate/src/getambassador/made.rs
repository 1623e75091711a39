//! Hosts and Mappings that another front end made of resources of its own.

use std::sync::Arc;

use nuncio_api::getambassador::{Host, Mapping};
use nuncio_model::route::PathMatch;
use nuncio_model::value::PathSegments;

use super::mapping::{Association, Parsed, Target};
use crate::store::Object;

/// In the order in which they are to be taken up, after those that users write.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) hosts: Vec<Object<Host>>,
    pub(crate) mappings: Vec<MadeMapping>,
}

/// A Mapping, and what a Mapping cannot say.
pub(crate) struct MadeMapping {
    pub(crate) object: Arc<Object<Mapping>>,
    /// In place of a prefix by characters.
    pub(crate) segments: Option<PathSegments>,
    /// The glob for which the regular expression in `host` stands.
    pub(crate) wildcard: Option<String>,
    /// Nothing is behind its service: requests are answered with 503.
    pub(crate) unavailable: bool,
}

impl MadeMapping {
    pub(super) fn amend(&self, parsed: &mut Parsed) {
        if let Some(segments) = &self.segments {
            parsed.path = PathMatch::Segments(segments.clone());
        }
        if let Some(glob) = &self.wildcard {
            parsed.association = Association::Hostname(glob.clone());
            // In the order of routes a wildcard is as long as it is written: shorter than any name
            // that it matches, so that a rule for that name comes first.
            let criteria = Arc::make_mut(&mut parsed.criteria);
            let mut criteria = criteria.headers.iter_mut();
            if let Some(authority) = criteria.find(|c| c.name == ":authority") {
                authority.value.clone_from(glob);
                authority.regex = false;
            }
        }
        if self.unavailable
            && let Target::Route(route) = &mut parsed.target
        {
            Arc::make_mut(&mut route.cluster).without_endpoints();
        }
    }
}
