//! Puts the built page into the program: each file of `page/dist`, and the same compressed where that makes it smaller.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Compressed files are taken where they are so much smaller.
const WORTH_IT: f64 = 0.9;

fn main() -> io::Result<()> {
    let variable = |name: &str| env::var(name).map(PathBuf::from).map_err(io::Error::other);
    let folder = variable("CARGO_MANIFEST_DIR")?.join("page/dist");
    let out = variable("OUT_DIR")?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    below(&folder, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&folder).map_err(io::Error::other)?.display().to_string().replace('\\', "/");
        let bytes = fs::read(file)?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&bytes)?;
        let packed = packed.finish()?;
        let gzip = if (packed.len() as f64) < bytes.len() as f64 * WORTH_IT {
            let beside = out.join(format!("page-{number}.gz"));
            fs::write(&beside, packed)?;
            format!("Some(include_bytes!({:?}))", beside.display().to_string())
        } else {
            "None".to_owned()
        };
        let bytes = file.display().to_string();
        writeln!(table, "    File {{ path: {name:?}, bytes: include_bytes!({bytes:?}), gzip: {gzip} }},")
            .map_err(io::Error::other)?;
    }
    table.push_str("]\n");
    fs::write(out.join("page.rs"), table)
}

/// The files below a folder.
fn below(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
