//! The token service: who is it that signs?

use hub::Caller;

use super::{
    call::{Call, Outcome, Reply},
    failure::escape,
};

/// `GetCallerIdentity`.
pub(crate) fn get_caller_identity(call: &Call<'_>) -> Outcome {
    let user = user(call.caller);
    let account = escape(&call.place.account);
    Ok(Reply::xml(format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetCallerIdentityResult><Arn>arn:aws:iam::{account}:user/{user}</Arn>\
         <UserId>{user}</UserId><Account>{account}</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>",
        escape(call.request_id),
    )))
}

fn user(caller: &Caller) -> String {
    escape(&caller.principal().id())
}
