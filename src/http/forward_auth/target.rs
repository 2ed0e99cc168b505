//! The application to which the original request goes.

use std::sync::Arc;

use latchkey_domain::{
    application::{Application, ApplicationSet},
    original_request::OriginalRequest,
    web_origin::{WebOrigin, WebOriginRef},
};
use poem::Request;

use super::original;
use crate::{app::App, error::Error};

/// The original request, and its application.
pub struct Target<'a> {
    pub original: OriginalRequest<'a>,
    /// `None` if the origin is unknown.
    pub application: Option<TargetApplication>,
    applications: Arc<ApplicationSet>,
}

/// The application of a request.
pub struct TargetApplication {
    /// The origin of the request, which a wildcard can contain.
    pub origin: WebOrigin,
    pub row: Arc<Application>,
}

impl<'a> Target<'a> {
    /// Reads the original request, and finds its application.
    ///
    /// # Errors
    /// `invalid_request` if its headers are repeated or contradictory.
    pub fn read(request: &'a Request) -> Result<Target<'a>, Error> {
        let app: &Arc<App> = request.data().expect("the request middleware sets it");
        let (original, applications) = (original::read(request)?, app.applications.current());
        let origin = original.origin.filter(|_| !applications.is_empty());
        let application = origin.map(WebOriginRef::to_web_origin).and_then(|origin| {
            let row = applications.find(&origin)?.clone();
            Some(TargetApplication { origin, row })
        });
        Ok(Target {
            original,
            application,
            applications,
        })
    }

    /// Requires a known origin if any application has a requirement, because the requirement of an
    /// unknown one is unknown, too.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn require_known(&self) -> Result<(), Error> {
        if self.application.is_some() || !self.applications.has_requirement() {
            return Ok(());
        }
        Err(Error::Forbidden(
            "The origin of the original request isn't one of the applications, which have \
             requirements. Add the application, or let the proxy send `X-Forwarded-Proto` and \
             `X-Forwarded-Host`."
                .into(),
        ))
    }
}
