pub mod config;
pub mod domain;
pub mod error;
pub mod gateway;
pub mod mail;
pub mod postgres;
pub mod redis;
