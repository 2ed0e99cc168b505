//! The configured rate limits.

use latchkey_domain::rate_limit::RateLimit;

use crate::config::Config;

pub(crate) struct RateLimitSettings {
    pub(super) is_enabled: bool,
    pub(super) sign_in: RateLimit,
    pub(super) sign_in_network: RateLimit,
    pub(super) sign_in_account: RateLimit,
    pub(super) code_account: RateLimit,
    pub(super) sign_up: RateLimit,
    pub(super) reset_request: RateLimit,
    pub(super) email: RateLimit,
    pub(super) refresh_failures: RateLimit,
}

impl RateLimitSettings {
    pub(crate) fn new(config: &Config) -> RateLimitSettings {
        RateLimitSettings {
            is_enabled: config.rate_limits.0,
            sign_in: config.limit_sign_in,
            sign_in_network: config.limit_sign_in_network,
            sign_in_account: config.limit_sign_in_account,
            code_account: config.limit_code_account,
            sign_up: config.limit_sign_up,
            reset_request: config.limit_reset_request,
            email: config.limit_email,
            refresh_failures: config.limit_refresh_failures,
        }
    }
}
