//! What went on before.

use axum::Json;
use axum::extract::State;

use crate::api::Shared;
use crate::extract::Paging;
use crate::guard::Caller;
use crate::model::{Page, Record};
use crate::problem::Problem;

pub(super) async fn list(
    State(api): State<Shared>,
    Caller(session): Caller,
    Paging(asked): Paging,
) -> Result<Json<Page<Record>>, Problem> {
    let scope = session.scope();
    let mut page = api.backend.records(scope.clone(), asked).await?;
    page.items.retain(|record| scope.covers(&record.from) || scope.covers(&record.to));
    Ok(Json(page))
}
