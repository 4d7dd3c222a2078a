//! Compiles `prelim/v1/*.proto` with protox, so that no protoc needs to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let services =
        ["exchange_service", "question_service", "queue_service", "review_service", "study_service", "worker_service"];
    let mut files = services.map(|name| format!("prelim/v1/{name}.proto")).to_vec();
    files.push("keda/externalscaler.proto".to_owned());
    println!("cargo:rerun-if-changed=prelim");
    println!("cargo:rerun-if-changed=keda");
    let descriptors = protox::compile(&files, ["."])?;
    // Reflection serves these.
    let out = PathBuf::from(env::var("OUT_DIR")?).join("prelim_v1.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    // Pieces of objects are passed on without a copy.
    tonic_prost_build::configure().bytes(".prelim.v1.ReadObjectResponse.chunk").compile_fds(descriptors)?;
    Ok(())
}
