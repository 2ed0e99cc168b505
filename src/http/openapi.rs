//! Everything that adapts poem-openapi.

pub mod body;
pub mod document;
pub mod params;
pub mod problem;
