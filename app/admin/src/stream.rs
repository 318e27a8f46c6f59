//! Server-Sent Events: the state of now, then every change, as long as the session lasts.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::api::Shared;
use crate::backend::{BackendError, EventStream};
use crate::event::LiveEvent;
use crate::guard::Caller;
use crate::model::{Scope, Session};
use crate::problem::Problem;

/// How often a quiet stream says that it lives, and asks whether its session does.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What a browser waits before it connects anew.
const RETRY: Duration = Duration::from_secs(2);

/// `GET /api/events`.
pub(crate) async fn events(
    State(api): State<Shared>,
    Caller(session): Caller,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let permit = api.streams.clone().try_acquire_owned().map_err(|_| too_many())?;
    // First the subscription, then the snapshot: what happens between them is told twice, never
    // missed.
    let events = api.backend.subscribe();
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let scope = session.scope();
    let first = snapshot(&api, &scope).await?;
    let feed = Feed { api, session, scope, events, heartbeat, _permit: permit };
    let opening = stream::iter([Ok(encode(&first).retry(RETRY))]);
    Ok(Sse::new(opening.chain(stream::unfold(feed, Feed::next))))
}

/// One open stream.
struct Feed {
    api: Shared,
    session: Session,
    scope: Scope,
    events: EventStream,
    heartbeat: Interval,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            tokio::select! {
                event = self.events.next() => {
                    if let Some(event) = self.translate(event?).await.ok()? {
                        return Some((Ok(event), self));
                    }
                }
                _ = self.heartbeat.tick() => {
                    self.still_signed_in().await?;
                    return Some((Ok(Event::default().comment("")), self));
                }
            }
        }
    }

    async fn translate(&mut self, event: LiveEvent) -> Result<Option<Event>, BackendError> {
        if event == LiveEvent::Lagged {
            return snapshot(&self.api, &self.scope).await.map(|state| Some(encode(&state)));
        }
        Ok(event.visible_to(&self.scope).then(|| encode(&event)))
    }

    /// Ends the stream of a session that is over, revoked, or lost the rights it was opened with.
    async fn still_signed_in(&mut self) -> Option<()> {
        let now = self.api.backend.session(self.session.token.reveal()).await.ok()??;
        (now.roles == self.session.roles).then_some(())
    }
}

async fn snapshot(api: &Shared, scope: &Scope) -> Result<LiveEvent, BackendError> {
    let mut registrations = api.backend.registrations(scope.clone()).await?;
    registrations.retain(|registration| scope.covers(&registration.aor));
    let mut calls = api.backend.calls(scope.clone()).await?;
    calls.retain(|call| scope.covers(&call.from) || scope.covers(&call.to));
    Ok(LiveEvent::Snapshot { registrations, calls })
}

fn encode(event: &LiveEvent) -> Event {
    let named = Event::default().event(event.name());
    match named.clone().json_data(event) {
        Ok(event) => event,
        Err(error) => {
            tracing::error!(%error, "an event could not be written");
            named.data("{}")
        }
    }
}

fn too_many() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "streams", "Too many event streams are open")
        .remedy("Close some, or ask again later.")
        .retry_after(30)
}
