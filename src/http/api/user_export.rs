//! Export of everything that is stored about the current user.

use std::sync::Arc;

use futures_util::stream;
use latchkey_domain::scope::Scope;
use poem::{Body, IntoResponse, Response, web::Data};
use poem_openapi::{
    ApiResponse, OpenApi,
    payload::Json,
    registry::{MetaResponses, Registry},
};

use crate::{
    app::{App, user_export::UserExport},
    error::Chain,
    http::{
        Tag,
        api::schemas::user_export::UserExportSchema,
        auth::caller::{InteractiveReader, require_scope},
        context::client_address::ClientOrigin,
        openapi::{
            body::JSON,
            problem::{Problem, problems},
            responses::{ContentDisposition, WithHeaders},
        },
    },
};

problems! {
    ExportProblems: [CALLER] TooManyRequests;
}

/// Streams the document. If a page can't be read, the response is aborted, so that no client takes
/// an incomplete document for a complete one.
struct UserExportResponse(UserExport);

impl IntoResponse for UserExportResponse {
    fn into_response(self) -> Response {
        let parts = stream::unfold(Some(self.0), |export| async move {
            let mut export = export?;
            match export.next_part().await {
                Ok(part) => Some((Ok(part?), Some(export))),
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "user export aborted");
                    Some((Err(std::io::Error::other("the export is incomplete")), None))
                }
            }
        });
        Response::builder()
            .content_type(JSON)
            .body(Body::from_bytes_stream(parts))
    }
}

impl ApiResponse for UserExportResponse {
    fn meta() -> MetaResponses {
        Json::<UserExportSchema>::meta()
    }

    fn register(registry: &mut Registry) {
        <Json<UserExportSchema> as ApiResponse>::register(registry);
    }
}

pub struct UserExportApi;

#[OpenApi]
impl UserExportApi {
    /// Export the current user
    ///
    /// Returns everything that is stored about the user as one JSON document, for download.
    ///
    /// Requires a user session (personal access tokens are rejected with 403 `forbidden`) and also
    /// the scope `items:read`. The document contains no password, token, or hash. It is read page
    /// by page, so it isn't a snapshot: a change during the export can be contained or missing. A
    /// document without its last brace is incomplete.
    ///
    /// Response 200: The export.
    #[oai(
        path = "/user/export",
        method = "get",
        operation_id = "exportCurrentUser",
        tag = "Tag::CurrentUser"
    )]
    async fn export(
        &self,
        app: Data<&Arc<App>>,
        InteractiveReader(caller): InteractiveReader,
        ClientOrigin(origin): ClientOrigin,
    ) -> Result<WithHeaders<UserExportResponse, ContentDisposition>, Problem<ExportProblems>> {
        require_scope(&caller, Scope::ItemsRead)?;
        let export = app.accounts.export_own_user(&caller, &origin).await?;
        let file_name = format!("attachment; filename=\"latchkey-user-{}.json\"", caller.sub);
        Ok(WithHeaders(
            UserExportResponse(export),
            ContentDisposition(file_name),
        ))
    }
}
