//! Patches of the generated OpenAPI document that need no knowledge of single operations.

pub mod forms;
pub mod paragraphs;
pub mod schemas;
