//! Bytes in a folder and in a bucket, by themselves (`stores`) and on the path of a study (`drafts`).

mod drafts;
mod stores;
