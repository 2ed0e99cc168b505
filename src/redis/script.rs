//! Lua scripts, which are invoked by their hash. If the server lacks a script, it is loaded first.

use deadpool_redis::redis::{self, RedisError, Value, aio::ConnectionLike};

use crate::error::Error;

pub struct Script {
    /// The name for error messages.
    name: &'static str,
    script: redis::Script,
}

impl Script {
    /// A script without shared functions.
    pub fn new(name: &'static str, text: &str) -> Script {
        Script {
            name,
            script: redis::Script::new(text),
        }
    }

    /// A script that uses the functions of `server.lua` and `account.lua`.
    pub fn with_account_functions(name: &'static str, text: &str) -> Script {
        Script::with_functions(name, include_str!("scripts/account.lua"), text)
    }

    /// A script that uses the functions of `server.lua` and `log.lua`.
    pub fn with_log_functions(name: &'static str, text: &str) -> Script {
        Script::with_functions(name, include_str!("scripts/log.lua"), text)
    }

    fn with_functions(name: &'static str, functions: &str, text: &str) -> Script {
        Script::new(
            name,
            &[include_str!("scripts/server.lua"), functions, text].concat(),
        )
    }

    /// A script that also uses the functions of `refresh.lua`.
    pub fn with_refresh_functions(name: &'static str, text: &str) -> Script {
        Script::with_account_functions(name, &[include_str!("scripts/refresh.lua"), text].concat())
    }

    pub async fn invoke(
        &self,
        connection: &mut impl ConnectionLike,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<Value, RedisError> {
        let mut invocation = self.script.prepare_invoke();
        for key in keys {
            invocation.key(key);
        }
        for arg in args {
            invocation.arg(arg);
        }
        invocation.invoke_async(connection).await
    }

    /// The error for a result that this version can't parse.
    pub fn unknown_result(&self) -> Error {
        Error::internal(format!(
            "the Redis script {} returned an unknown result",
            self.name
        ))
    }
}
