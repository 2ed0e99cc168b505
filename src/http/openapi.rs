//! Adaptation layer for poem-openapi 5.1.16.
//!
//! The list contains the gaps of the framework, with their replacements and the upstream issues. The
//! other patches of [`document`](crate::http::document) adapt the document to client generators and
//! Swagger UI.
//!
//! - A JSON payload keeps the last of duplicate fields: [`body::Fields`] rejects duplicates.
//! - Errors repeat request values, and a payload error names no field: [`body::Fields`] and
//!   [`params`] report fields by name only ([#622]).
//! - JSON and forms are parsed by different rules: [`body::Fields`] parses both.
//! - Payload extractors have no size limit and no timeout: [`body::read`] has both.
//! - The first of duplicate query parameters is used: [`params::reject_duplicate_params`] rejects
//!   duplicates.
//! - Path parameters are recognized only by the identifier `Path`: [`params::Path`] is an alias
//!   ([#1036]).
//! - The service parses the query of every request again:
//!   [`document::add_operations`](crate::http::document::add_operations) adds the routes without
//!   the service.
//! - Operations have one of nine methods:
//!   [`document::add_operations`](crate::http::document::add_operations) routes every method to the
//!   forward authentication check.
//! - Two responses with one status become a duplicate JSON key: [`problem::Problem`] groups error
//!   codes by status.
//! - Descriptions of responses must be static strings: [`problem::Problem`] leaks the generated
//!   description.
//! - A media type has no `examples`: `document::responses` adds an example per error code.
//! - An extractor declares its security schemes without scopes: [`security`] attaches the scope to
//!   its scheme.
//! - A security scheme adds no header and no error to its operations: `document::pages` adds the
//!   CSRF header, its error, and `Set-Cookie` ([#655]).
//! - Media types contain `charset`: `document::responses` removes it ([#346]).
//! - Response header names are in upper case: `document::responses` restores them.
//! - A response description belongs to the type, not to the operation: [`responses::describe`]
//!   takes it from the documentation of the handler.
//! - A response status or header requires an enum per body: [`responses`] has generic types.
//! - Optional response fields are documented as absent and written as `null`: [`patches::schemas`]
//!   requires all fields and allows `null` ([#701], [#913]).
//! - A schema cannot have `additionalProperties: false`: [`patches::schemas`] adds it to request
//!   bodies.
//! - A field with a description wraps its `$ref` in `allOf`: [`patches::schemas`] restores the
//!   `$ref`.
//! - Unsigned integers have the formats `uint16` and `uint64`: [`patches::schemas`] uses `int32`
//!   and `int64` ([#760]).
//! - Parameters have `deprecated: false`: [`document`](crate::http::document) removes it.
//! - Tags and security schemes are sorted by name: [`document`](crate::http::document) sorts them
//!   for reading.
//! - Descriptions keep the line breaks of doc comments: [`patches::paragraphs`] joins the lines.
//! - The OpenAPI version is always 3.0.0: [`document`](crate::http::document) sets 3.0.3 ([#914]).
//!
//! [#346]: https://github.com/poem-web/poem/issues/346
//! [#622]: https://github.com/poem-web/poem/issues/622
//! [#655]: https://github.com/poem-web/poem/issues/655
//! [#701]: https://github.com/poem-web/poem/issues/701
//! [#760]: https://github.com/poem-web/poem/issues/760
//! [#913]: https://github.com/poem-web/poem/issues/913
//! [#914]: https://github.com/poem-web/poem/issues/914
//! [#1036]: https://github.com/poem-web/poem/issues/1036

pub mod body;
pub mod params;
pub mod patches;
pub mod problem;
pub mod responses;
pub mod security;
