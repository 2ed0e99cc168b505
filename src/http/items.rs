//! One's own items.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use super::{
    Tag,
    answers::{Done, ItemMade, ItemShown, ItemsListed},
    body::{Body, body},
    caller::{ReadItems, WriteItems},
    params::{After, Id, Limit, Param, Path},
    problem::{Problem, problems},
    shapes::items::ItemPageShape,
};
use crate::{
    domain::{
        item::{self, Description, IfMatch, ItemName},
        page::Page,
    },
    gateway::{Gateway, ItemPatch, StoredItem},
};

body! {
    /// A whole item.
    ItemBody {
        /// The name.
        name: Required<ItemName>,
        /// The description.
        description: Optional<Description>,
    }

    /// What changes about an item; absent members stay, `null` clears the description.
    ItemPatchBody {
        /// The name.
        name: Kept<ItemName>,
        /// The description.
        description: Clearable<Description>,
    }
}

problems! {
    CreateProblems: [CALLER, BODY];
    ListProblems: [CALLER];
    ShowProblems: [CALLER] NotFound;
    ChangeProblems: [CALLER, BODY] NotFound PreconditionFailed;
    DeleteProblems: [CALLER] NotFound PreconditionFailed;
}

/// The operations.
pub struct ItemsApi;

#[OpenApi]
impl ItemsApi {
    /// Create an item
    ///
    /// The answer says where it is (`Location`) and which version it is (`ETag`). Nobody else sees
    /// it, administrators included.
    #[oai(
        path = "/items",
        method = "post",
        operation_id = "createItem",
        tag = "Tag::Items"
    )]
    async fn create(
        &self,
        gateway: Data<&Arc<Gateway>>,
        WriteItems(caller): WriteItems,
        Body(body): Body<ItemBody>,
    ) -> Result<ItemMade, Problem<CreateProblems>> {
        let item = gateway
            .create_item(&caller, &body.name, body.description.as_ref())
            .await?;
        let (location, etag) = (format!("/items/{}", item.id), item::etag(item.version));
        Ok(ItemMade::Created(Json(item.into()), location, etag))
    }

    /// List my items
    ///
    /// By id ascending, so the oldest first. `next` of the answer is `after` of the next request.
    #[oai(
        path = "/items",
        method = "get",
        operation_id = "listItems",
        tag = "Tag::Items"
    )]
    async fn list(
        &self,
        gateway: Data<&Arc<Gateway>>,
        ReadItems(caller): ReadItems,
        /// How many at most.
        limit: Param<Limit>,
        /// The `next` of the page before.
        after: Param<After>,
    ) -> Result<ItemsListed, Problem<ListProblems>> {
        let (Param(Limit(limit)), Param(After(after))) = (limit, after);
        let page = gateway.list_items(&caller, Page { limit, after }).await?;
        let items = page.items.into_iter().map(Into::into).collect();
        Ok(ItemsListed::Page(Json(ItemPageShape {
            items,
            next: page.next,
        })))
    }

    /// Read an item
    ///
    /// With its `ETag`, which a later change sends in `If-Match`. An item of somebody else's is a
    /// 404, like one that never was.
    #[oai(
        path = "/items/:id",
        method = "get",
        operation_id = "getItem",
        tag = "Tag::Items"
    )]
    async fn show(
        &self,
        gateway: Data<&Arc<Gateway>>,
        ReadItems(caller): ReadItems,
        /// The item's id.
        id: Path<Id>,
    ) -> Result<ItemShown, Problem<ShowProblems>> {
        let Param(Id(id)) = id;
        Ok(shown(gateway.show_item(&caller, id).await?))
    }

    /// Replace an item
    ///
    /// With all of its members: a description that is left out is gone. With `If-Match` only the
    /// version that was read is replaced, so that two who change it at once do not overwrite each
    /// other (RFC 9110 section 13.1.1).
    #[oai(
        path = "/items/:id",
        method = "put",
        operation_id = "replaceItem",
        tag = "Tag::Items"
    )]
    async fn replace(
        &self,
        gateway: Data<&Arc<Gateway>>,
        WriteItems(caller): WriteItems,
        /// The item's id.
        id: Path<Id>,
        /// The `ETag` that was read: if the item has changed since, nothing happens and the answer
        /// is 412.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        Body(body): Body<ItemBody>,
    ) -> Result<ItemShown, Problem<ChangeProblems>> {
        let (Param(Id(id)), Param(seen)) = (id, if_match);
        let patch = ItemPatch {
            name: Some(body.name),
            description: Some(body.description),
        };
        Ok(shown(
            gateway.change_item(&caller, id, &patch, &seen).await?,
        ))
    }

    /// Change an item
    ///
    /// Members that are left out stay as they are; `null` clears the description. With `If-Match`
    /// only the version that was read is changed, so that two who change it at once do not
    /// overwrite each other (RFC 9110 section 13.1.1).
    #[oai(
        path = "/items/:id",
        method = "patch",
        operation_id = "updateItem",
        tag = "Tag::Items"
    )]
    async fn change(
        &self,
        gateway: Data<&Arc<Gateway>>,
        WriteItems(caller): WriteItems,
        /// The item's id.
        id: Path<Id>,
        /// The `ETag` that was read: if the item has changed since, nothing happens and the answer
        /// is 412.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        Body(body): Body<ItemPatchBody>,
    ) -> Result<ItemShown, Problem<ChangeProblems>> {
        let (Param(Id(id)), Param(seen)) = (id, if_match);
        let patch = ItemPatch {
            name: body.name,
            description: body.description,
        };
        Ok(shown(
            gateway.change_item(&caller, id, &patch, &seen).await?,
        ))
    }

    /// Delete an item
    ///
    /// For good. With `If-Match` only the version that was read is deleted. What is gone already is
    /// a 404.
    #[oai(
        path = "/items/:id",
        method = "delete",
        operation_id = "deleteItem",
        tag = "Tag::Items"
    )]
    async fn delete(
        &self,
        gateway: Data<&Arc<Gateway>>,
        WriteItems(caller): WriteItems,
        /// The item's id.
        id: Path<Id>,
        /// The `ETag` that was read: if the item has changed since, nothing happens and the answer
        /// is 412.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
    ) -> Result<Done, Problem<DeleteProblems>> {
        let (Param(Id(id)), Param(seen)) = (id, if_match);
        gateway.delete_item(&caller, id, &seen).await?;
        Ok(Done::Done)
    }
}

fn shown(item: StoredItem) -> ItemShown {
    let etag = item::etag(item.version);
    ItemShown::Shown(Json(item.into()), etag)
}
