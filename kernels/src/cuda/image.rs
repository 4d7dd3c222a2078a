//! The compiled kernels that the binary carries.

use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;

/// PTX of all kernels, from `kernels/cuda/build.sh`.
const PTX: &[u8] = include_bytes!("../../cuda/kernels.ptx.gz");

/// What starts a kernel.
const ENTRY: &str = ".visible .entry ";

/// PTX of single kernels, so that the driver compiles those that are used and no others.
struct Image {
    /// Version, target and what kernels share.
    header: String,
    /// The text of each kernel, by its name.
    kernels: HashMap<String, String>,
}

impl Image {
    fn parse(text: &str) -> Self {
        let mut image = Self { header: String::new(), kernels: HashMap::new() };
        let mut kernel: Option<(String, String)> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix(ENTRY) {
                let name = rest.split('(').next().unwrap_or(rest).to_owned();
                kernel = Some((name, String::new()));
            }
            match &mut kernel {
                Some((_, body)) => {
                    body.push_str(line);
                    body.push('\n');
                }
                None => {
                    image.header.push_str(line);
                    image.header.push('\n');
                }
            }
            // A closing brace at the beginning of a line ends a kernel.
            if line == "}" {
                image.kernels.extend(kernel.take());
            }
        }
        image
    }
}

fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut text = String::new();
        // It is part of the program, and a test has read it.
        GzDecoder::new(PTX).read_to_string(&mut text).expect("the kernels inside the binary are damaged");
        Image::parse(&text)
    })
}

/// A module with this kernel alone.
///
/// # Panics
/// When there is no such kernel.
pub(super) fn module(kernel: &str) -> String {
    let image = image();
    let body = image.kernels.get(kernel).unwrap_or_else(|| panic!("no kernel {kernel}"));
    format!("{}{body}", image.header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_stands_alone() {
        let names: Vec<&String> = image().kernels.keys().collect();
        assert!(names.len() > 40, "{names:?}");
        for name in names {
            let module = module(name);
            assert!(module.starts_with(".version 7.0\n.target sm_80\n"), "{name}");
            assert_eq!(module.matches(ENTRY).count(), 1, "{name}");
            assert_eq!(module.matches("\n{\n").count(), module.matches("\n}\n").count(), "{name}");
        }
    }
}
