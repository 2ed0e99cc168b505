//! A Lua script: sent by its hash, and in full once a server does not know it.

use deadpool_redis::redis::{self, RedisError, Value, aio::ConnectionLike};

use crate::error::Error;

/// A script with its name for the log.
pub struct Script {
    name: &'static str,
    script: redis::Script,
}

impl Script {
    /// A script of its own.
    pub fn new(name: &'static str, text: &str) -> Script {
        Script {
            name,
            script: redis::Script::new(text),
        }
    }

    /// A script that uses the functions of `server.lua` and `account.lua`.
    pub fn of_account(name: &'static str, text: &str) -> Script {
        Script::of_server(name, include_str!("scripts/account.lua"), text)
    }

    /// A script that uses the functions of `server.lua` and `log.lua`.
    pub fn of_log(name: &'static str, text: &str) -> Script {
        Script::of_server(name, include_str!("scripts/log.lua"), text)
    }

    fn of_server(name: &'static str, functions: &str, text: &str) -> Script {
        Script::new(
            name,
            &[include_str!("scripts/server.lua"), functions, text].concat(),
        )
    }

    /// A script that exchanges refresh tokens.
    pub fn of_refresh(name: &'static str, text: &str) -> Script {
        Script::of_account(name, &[include_str!("scripts/refresh.lua"), text].concat())
    }

    /// Runs it.
    pub async fn call(
        &self,
        connection: &mut impl ConnectionLike,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<Value, RedisError> {
        let mut call = self.script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for arg in args {
            call.arg(arg);
        }
        call.invoke_async(connection).await
    }

    /// The error for a result that this version doesn't know.
    pub fn unknown_answer(&self) -> Error {
        Error::internal(format!(
            "the Redis script {} returned an unknown result",
            self.name
        ))
    }
}
