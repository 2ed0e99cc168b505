//! The form of a sign-in. Most client generators support one media type per operation, so the form
//! is documented beside the JSON body, as `x-form`.

use serde_json::{Value, json};

use crate::http::openapi::body::FORM;

/// The framework's name for what it says.
const NAME: &str = "SignInForm";

/// Moves the form from the operation's media types, and its schema from where no operation names
/// it.
pub fn patch(document: &mut Value) {
    let body = &mut document["paths"]["/login"]["post"]["requestBody"];
    body["content"]
        .as_object_mut()
        .expect("media types")
        .shift_remove(FORM)
        .expect("it is registered");
    let schemas = document["components"]["schemas"]
        .as_object_mut()
        .expect("there are schemas");
    let mut form = schemas.shift_remove(NAME).expect("it is registered");
    form["title"] = json!(NAME);
    document["paths"]["/login"]["post"]["requestBody"]["x-form"] = form;
}
