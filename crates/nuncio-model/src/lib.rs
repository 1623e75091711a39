//! What a gateway does, in the field's own words: listeners, routes, clusters; and the report
