//! Digests of the audit in S3: a bucket with versions and Object Lock, so that what was stored first under a name stays.

use std::collections::BTreeSet;

use aws_sdk_s3::{Client, primitives::ByteStream, types::ObjectVersion};
use sorry_session::{
    audit::verify::StoredDigest,
    ports::{DigestPage, DigestStore, PortError, PutOnce},
};

use crate::{
    DynamoRegistry,
    errors::{code, port_error},
};

/// What all keys begin with.
const PREFIX: &str = "digests/";
/// Names that one page looks at, at most.
const PAGE: i32 = 100;
/// Bytes of texts after which a page is full: what the API answers with stays below the 6 MB of a Lambda response.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// The bucket of digests.
#[derive(Clone, Debug)]
pub struct S3Digests {
    client: Client,
    bucket: String,
}

impl S3Digests {
    /// The bucket of this name.
    pub fn new(config: &aws_config::SdkConfig, bucket: String) -> Self {
        Self { client: Client::new(config), bucket }
    }

    /// The names after `cursor` with what was written first under each, and whether there may be more.
    async fn names(&self, cursor: Option<&str>) -> Result<(Vec<Named>, bool), PortError> {
        let mut named: Vec<Named> = Vec::new();
        let mut deleted: BTreeSet<String> = BTreeSet::new();
        let (mut key, mut version) = (cursor.map(|name| format!("{PREFIX}{name}")), None);
        for _ in 0..MOST_LISTED {
            let call = self
                .client
                .list_object_versions()
                .bucket(&self.bucket)
                .prefix(PREFIX)
                .max_keys(PAGE)
                .set_key_marker(key)
                .set_version_id_marker(version);
            let answer = call.send().await.map_err(|error| port_error("ListObjectVersions", &error))?;
            // By key, the newest version first: the last one of a key is what was written first.
            for version in answer.versions.unwrap_or_default() {
                let key = version.key().unwrap_or_default().to_owned();
                match named.last_mut().filter(|last| last.key == key) {
                    Some(last) => (last.first, last.overwritten) = (version, true),
                    None => named.push(Named { key, first: version, overwritten: false }),
                }
            }
            let markers = answer.delete_markers.unwrap_or_default();
            deleted.extend(markers.into_iter().filter_map(|marker| marker.key));
            let more = answer.is_truncated == Some(true);
            if !more || named.len() > 1 {
                if more {
                    // The last key may go on in the next page.
                    named.pop();
                }
                for one in &mut named {
                    one.overwritten |= deleted.contains(&one.key);
                }
                return Ok((named, more));
            }
            (key, version) = (answer.next_key_marker, answer.next_version_id_marker);
        }
        Err(PortError::Unreadable(
            "ListObjectVersions: more versions of one digest than can be read".to_owned(),
        ))
    }

    async fn text(&self, key: &str, version: Option<&str>) -> Result<String, PortError> {
        let call = self.client.get_object().bucket(&self.bucket).key(key);
        let call = call.set_version_id(version.map(str::to_owned));
        let answer = call.send().await.map_err(|error| port_error("GetObject", &error))?;
        let unreadable = |error: String| PortError::Unavailable(format!("GetObject: {error}"));
        let bytes = answer.body.collect().await.map_err(|error| unreadable(error.to_string()))?.into_bytes();
        // A digest is ASCII. What is not was not written by the service, and must not hide that.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A listing has as many pages as somebody has put versions and markers there.
const MOST_LISTED: usize = 20;

/// What lies under one name: the first version, and whether there is anything else.
struct Named {
    key: String,
    first: ObjectVersion,
    overwritten: bool,
}

impl DigestStore for S3Digests {
    async fn put_once(&self, name: &str, text: &str) -> Result<PutOnce, PortError> {
        let key = format!("{PREFIX}{name}");
        let call = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            .content_type("application/json")
            .if_none_match("*")
            .body(ByteStream::from(text.as_bytes().to_vec()));
        match call.send().await {
            Ok(_) => Ok(PutOnce::Written),
            // Source: S3 guide, "Add preconditions to S3 operations": 412 where something is, 409 where a write is on its way.
            Err(error) if code(&error) == Some("PreconditionFailed") => {
                self.text(&key, None).await.map(PutOnce::Before)
            }
            Err(error) if code(&error) == Some("ConditionalRequestConflict") => {
                Err(PortError::Throttled("PutObject: another write is on its way".to_owned()))
            }
            Err(error) => Err(port_error("PutObject", &error)),
        }
    }

    async fn digests(&self, cursor: Option<&str>) -> Result<DigestPage, PortError> {
        let (named, mut more) = self.names(cursor).await?;
        let (mut digests, mut bytes) = (Vec::with_capacity(named.len()), 0);
        for one in &named {
            let text = self.text(&one.key, one.first.version_id()).await?;
            bytes += text.len();
            let name = one.key.strip_prefix(PREFIX).unwrap_or(&one.key).to_owned();
            digests.push(StoredDigest { name, text, overwritten: one.overwritten });
            if bytes >= PAGE_BYTES && digests.len() < named.len() {
                more = true;
                break;
            }
        }
        let cursor = digests.last().filter(|_| more).map(|digest| digest.name.clone());
        Ok(DigestPage { digests, cursor })
    }
}

impl DynamoRegistry {
    fn bucket(&self) -> Result<&S3Digests, PortError> {
        self.digests.as_ref().ok_or_else(|| PortError::Refused("this function knows no digests".to_owned()))
    }
}

impl DigestStore for DynamoRegistry {
    async fn put_once(&self, name: &str, text: &str) -> Result<PutOnce, PortError> {
        self.bucket()?.put_once(name, text).await
    }

    async fn digests(&self, cursor: Option<&str>) -> Result<DigestPage, PortError> {
        self.bucket()?.digests(cursor).await
    }
}
