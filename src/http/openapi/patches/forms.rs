//! The form of the sign-in. Most client generators support one media type per operation, so the
//! form is documented beside the JSON body, as `x-form`.

use serde_json::{Value, json};

use crate::http::openapi::body::FORM;

/// Schema name of the form.
const NAME: &str = "SignInForm";

/// Moves the form from the media types to `x-form`, together with its schema, which no other
/// operation uses.
pub fn patch(document: &mut Value) {
    let body = &mut document["paths"]["/login"]["post"]["requestBody"];
    body["content"]
        .as_object_mut()
        .expect("media types")
        .shift_remove(FORM)
        .expect("a documented form");
    let schemas = document["components"]["schemas"]
        .as_object_mut()
        .expect("schemas");
    let mut form = schemas.shift_remove(NAME).expect("a registered schema");
    form["title"] = json!(NAME);
    document["paths"]["/login"]["post"]["requestBody"]["x-form"] = form;
}
