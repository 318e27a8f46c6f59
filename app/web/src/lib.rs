//! The console and the web phone, embedded in the server's binary.
//!
//! ```text
//!   app/web/ui --npm run build--> app/web/dist --rust-embed--> this crate --> admin's pages
//! ```
//!
//! Contract: pure lookups by path; no socket, no clock, no state. The crate builds without Node and
//! without `dist`; every page is then one plain text that says how to build the real ones. Files
//! below `assets/` carry a hash of their content in their name and may be cached for ever;
//! everything else is to be asked for again with its `etag`.
//!
//! ```
//! let page = web::asset("/").expect("there is always a first page");
//! assert_eq!(page.mime, "text/html; charset=utf-8");
//! // A path of the pages' own routing gives the first page too, a missing file does not.
//! assert!(web::asset("/welcome/some-token").is_some());
//! assert!(web::asset("/assets/nothing.js").is_none());
//! ```
//!
//! It does not set headers, check sessions or speak HTTP: `admin` does. The pages themselves start
//! at `ui/src/main.ts`; `cargo run -p admin --example pages` shows them over data made up, without
//! a server.

use std::borrow::Cow;

use rust_embed::{Embed, EmbeddedFile};

/// The plain page that is shown when the real ones were not built.
const UNBUILT: &str = include_str!("unbuilt.html");

/// One file to be served.
#[derive(Debug, Clone)]
pub struct Asset {
    /// The content.
    pub bytes: Cow<'static, [u8]>,
    /// Value for `Content-Type`, with the charset where there is one.
    pub mime: &'static str,
    /// Strong entity tag, quotes included (RFC 9110 §8.8.3).
    pub etag: String,
    /// The name carries a hash of the content: may be cached for a year without asking.
    pub immutable: bool,
}

/// The file at `path` (as in the request line, without the query).
///
/// A path whose last segment has no extension belongs to the pages' own routing and gives the first
/// page. `None`: there is no such file.
pub fn asset(path: &str) -> Option<Asset> {
    let name = path.trim_start_matches('/');
    if let Some(file) = Dist::get(name) {
        return Some(Asset::new(name, file));
    }
    let last = name.rsplit('/').next().unwrap_or_default();
    let routed = !last.contains('.') && !name.starts_with("assets/");
    routed.then(|| page(path))
}

/// The first page; without a build the plain one that says how to make it.
///
/// The pages route by themselves, so every `path` gives the same document.
pub fn page(_path: &str) -> Asset {
    match Dist::get("index.html") {
        Some(file) => Asset::new("index.html", file),
        None => Asset {
            bytes: Cow::Borrowed(UNBUILT.as_bytes()),
            mime: mime("index.html"),
            etag: "\"unbuilt\"".to_owned(),
            immutable: false,
        },
    }
}

/// Whether this binary carries the real pages.
pub fn built() -> bool {
    Dist::get("index.html").is_some()
}

impl Asset {
    fn new(name: &str, file: EmbeddedFile) -> Self {
        let mut etag = String::with_capacity(34);
        etag.push('"');
        for byte in &file.metadata.sha256_hash()[..16] {
            etag.push_str(&format!("{byte:02x}"));
        }
        etag.push('"');
        let immutable = name.starts_with("assets/");
        Self { bytes: file.data, mime: mime(name), etag, immutable }
    }
}

#[derive(Embed)]
#[folder = "dist/"]
#[allow_missing = true]
struct Dist;

/// The content types of what Vite writes; anything else is offered as bytes.
fn mime(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "wav" => "audio/wav",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_routes_give_the_first_page_and_missing_files_none() {
        for path in ["/", "", "/phone", "/welcome/abc_DEF-123", "/users"] {
            let found = asset(path).unwrap();
            assert_eq!(found.mime, "text/html; charset=utf-8", "{path}");
            assert!(!found.immutable, "{path}");
            assert!(found.etag.starts_with('"') && found.etag.ends_with('"'), "{path}");
        }
        for path in
            ["/missing.js", "/assets/x.js", "/assets/x", "/../Cargo.toml", "/a/../../b.toml"]
        {
            assert!(asset(path).is_none(), "{path}");
        }
    }

    #[test]
    fn without_a_build_the_page_says_how_to_make_one() {
        if !built() {
            let page = page("/");
            assert!(std::str::from_utf8(&page.bytes).unwrap().contains("make web"));
        }
        assert!(UNBUILT.contains("make web"));
    }

    #[test]
    fn no_page_names_a_foreign_host() {
        for name in Dist::iter() {
            let file = Dist::get(&name).unwrap();
            if name.ends_with(".html") || name.ends_with(".css") {
                let text = String::from_utf8_lossy(&file.data);
                assert!(!text.contains("https://"), "{name} loads from elsewhere");
            }
        }
    }
}
