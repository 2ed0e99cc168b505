//! Items of the current user.

use std::sync::Arc;

use latchkey_domain::item::{self, Description, IfMatch, ItemName};
use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use crate::{
    app::{
        App,
        items::{ItemPatch, StoredItem},
    },
    http::{
        Tag,
        api::schemas::items::{ItemPageSchema, ItemSchema},
        auth::caller::{ReadItems, WriteItems},
        openapi::{
            body::{Body, body},
            params::{Cursor, Id, Limit, Param, Path, page},
            problem::{Problem, problems},
            responses::{Created, ETag, Location, NoContent, WithHeaders},
        },
    },
};

body! {
    /// Item to create.
    pub struct CreateItemRequest {
        /// Name.
        pub name: Required<ItemName>,
        /// Description.
        pub description: Optional<Description>,
    }

    /// All fields of an item.
    pub struct ReplaceItemRequest {
        /// Name.
        pub name: Required<ItemName>,
        /// Description; absent or `null`: none.
        pub description: Optional<Description>,
    }

    /// New values; absent fields stay unchanged.
    pub struct UpdateItemRequest {
        /// Name.
        pub name: KeepIfAbsent<ItemName>,
        /// Description; `null` clears it.
        pub description: Clearable<Description>,
    }
}

problems! {
    CreateProblems: [CALLER, BODY];
    ListProblems: [CALLER];
    GetProblems: [CALLER] NotFound;
    UpdateProblems: [CALLER, BODY] NotFound PreconditionFailed;
    DeleteProblems: [CALLER] NotFound PreconditionFailed;
}

pub struct ItemsApi;

#[OpenApi]
impl ItemsApi {
    /// Create an item
    ///
    /// Creates an item and returns its `Location` and `ETag`.
    ///
    /// An item is visible only to the user who created it, not to administrators.
    ///
    /// Response 201: The item was created.
    #[oai(
        path = "/items",
        method = "post",
        operation_id = "createItem",
        tag = "Tag::Items"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        WriteItems(caller): WriteItems,
        Body(body): Body<CreateItemRequest>,
    ) -> Result<WithHeaders<Created<ItemSchema>, (Location, ETag)>, Problem<CreateProblems>> {
        let item = app
            .items
            .create_item(&caller, &body.name, body.description.as_ref())
            .await?;
        let location = Location(format!("/items/{}", item.id));
        let etag = ETag(item::etag(item.version));
        Ok(WithHeaders(Created(item.into()), (location, etag)))
    }

    /// List items
    ///
    /// Returns the caller's items, oldest first.
    ///
    /// Response 200: A page of items.
    #[oai(
        path = "/items",
        method = "get",
        operation_id = "listItems",
        tag = "Tag::Items"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        ReadItems(caller): ReadItems,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<ItemPageSchema>, Problem<ListProblems>> {
        let page = app.items.list_items(&caller, page(limit, after)).await?;
        let data = page.items.into_iter().map(Into::into).collect();
        Ok(Json(ItemPageSchema {
            data,
            next: page.next,
        }))
    }

    /// Get an item
    ///
    /// Returns the item and its `ETag`.
    ///
    /// Send the `ETag` in `If-Match` to update the item. An item of another user returns 404.
    ///
    /// Response 200: The item.
    #[oai(
        path = "/items/:id",
        method = "get",
        operation_id = "getItem",
        tag = "Tag::Items"
    )]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        ReadItems(caller): ReadItems,
        /// Item ID.
        id: Path<Id>,
    ) -> Result<WithHeaders<Json<ItemSchema>, ETag>, Problem<GetProblems>> {
        let Param(Id(id)) = id;
        Ok(item_response(app.items.get_item(&caller, id).await?))
    }

    /// Replace an item
    ///
    /// Replaces all fields. `If-Match` prevents lost updates (412).
    ///
    /// Absent optional fields are cleared. With `If-Match`, the item is replaced only if it has not
    /// changed since you read it (RFC 9110 section 13.1.1).
    ///
    /// Response 200: The item was replaced.
    #[oai(
        path = "/items/:id",
        method = "put",
        operation_id = "replaceItem",
        tag = "Tag::Items"
    )]
    async fn replace(
        &self,
        app: Data<&Arc<App>>,
        WriteItems(caller): WriteItems,
        /// Item ID.
        id: Path<Id>,
        /// The `ETag` of the item. If the item has changed, the response is 412 and nothing is
        /// written. Default: no check.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        Body(body): Body<ReplaceItemRequest>,
    ) -> Result<WithHeaders<Json<ItemSchema>, ETag>, Problem<UpdateProblems>> {
        let (Param(Id(id)), Param(if_match)) = (id, if_match);
        let patch = ItemPatch {
            name: Some(body.name),
            description: Some(body.description),
        };
        Ok(item_response(
            app.items
                .update_item(&caller, id, &patch, &if_match)
                .await?,
        ))
    }

    /// Update an item
    ///
    /// Updates the given fields; `null` clears an optional field.
    ///
    /// With `If-Match`, the item is updated only if it has not changed since you read it (RFC 9110
    /// section 13.1.1). Otherwise the response is 412.
    ///
    /// Response 200: The item was updated.
    #[oai(
        path = "/items/:id",
        method = "patch",
        operation_id = "updateItem",
        tag = "Tag::Items"
    )]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        WriteItems(caller): WriteItems,
        /// Item ID.
        id: Path<Id>,
        /// The `ETag` of the item. If the item has changed, the response is 412 and nothing is
        /// written. Default: no check.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        Body(body): Body<UpdateItemRequest>,
    ) -> Result<WithHeaders<Json<ItemSchema>, ETag>, Problem<UpdateProblems>> {
        let (Param(Id(id)), Param(if_match)) = (id, if_match);
        let patch = ItemPatch {
            name: body.name,
            description: body.description,
        };
        Ok(item_response(
            app.items
                .update_item(&caller, id, &patch, &if_match)
                .await?,
        ))
    }

    /// Delete an item
    ///
    /// Deletes the item. Returns 404 if it doesn't exist.
    ///
    /// With `If-Match`, the item is deleted only if it has not changed since you read it (RFC 9110
    /// section 13.1.1). Otherwise the response is 412.
    ///
    /// Response 204: The item was deleted.
    #[oai(
        path = "/items/:id",
        method = "delete",
        operation_id = "deleteItem",
        tag = "Tag::Items"
    )]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        WriteItems(caller): WriteItems,
        /// Item ID.
        id: Path<Id>,
        /// The `ETag` of the item. If the item has changed, the response is 412 and nothing is
        /// written. Default: no check.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
    ) -> Result<NoContent, Problem<DeleteProblems>> {
        let (Param(Id(id)), Param(if_match)) = (id, if_match);
        app.items.delete_item(&caller, id, &if_match).await?;
        Ok(NoContent)
    }
}

fn item_response(item: StoredItem) -> WithHeaders<Json<ItemSchema>, ETag> {
    let etag = ETag(item::etag(item.version));
    WithHeaders(Json(item.into()), etag)
}
