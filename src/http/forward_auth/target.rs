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
    /// The origin of the original request, unless there is no application.
    origin: Option<WebOrigin>,
    applications: Arc<ApplicationSet>,
}

/// The application of a request.
pub struct TargetApplication<'a> {
    pub origin: &'a WebOrigin,
    pub row: &'a Application,
}

impl<'a> Target<'a> {
    /// Reads the original request.
    ///
    /// # Errors
    /// `invalid_request` if its headers are repeated or contradictory.
    pub fn read(request: &'a Request) -> Result<Target<'a>, Error> {
        let app: &Arc<App> = request.data().expect("the request middleware sets it");
        let (original, applications) = (original::read(request)?, app.applications.current());
        let origin = original.origin.filter(|_| !applications.is_empty());
        Ok(Target {
            original,
            origin: origin.map(WebOriginRef::to_web_origin),
            applications,
        })
    }

    /// Returns the application; `None` if the origin is unknown.
    pub fn application(&self) -> Option<TargetApplication<'_>> {
        let origin = self.origin.as_ref()?;
        let row = self.applications.find(origin)?;
        Some(TargetApplication { origin, row })
    }

    /// Requires a known origin if any application has a requirement, because the requirement of an
    /// unknown one is unknown, too.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn require_known(&self) -> Result<(), Error> {
        if self.application().is_some() || !self.applications.has_requirement() {
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
