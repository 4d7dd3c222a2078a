//! Objects in Explicit VR Little Endian, whatever they are stored in. Compressed pixels are decoded in a process of their
//! own, as everywhere.

use prelim_imaging::Limits;
use prelim_imaging::rewrite::explicit_little;
use prelim_imaging::sandbox::Decoder;
use prelim_imaging::scan::scan;
use prelim_imaging::syntax::{EXPLICIT_LITTLE, TransferSyntax};
use prelim_proto::ids::Uid;

use super::Web;
use super::held::Instance;
use super::memory::Room;
use super::problem::Problem;
use crate::dimse::part10::Meta;

impl Web {
    /// An object in Explicit VR Little Endian, and the room that it takes.
    pub(super) async fn plain(&self, study: &Uid, instance: &Instance) -> Result<(Vec<u8>, Room), Problem> {
        // The object as it is stored and as it will be.
        let bytes = self.held_bytes(instance).saturating_add(self.decoded_bytes(instance));
        let room = self.memory.wait_for(bytes).await?;
        let stored = self.bytes_of(study, instance).await?;
        let command = self.coordinator.decoder.clone();
        let record = instance.record.instance.clone();
        let rewrite = move || {
            let limits = Limits::default();
            let scanned = scan(&stored, &limits).map_err(|error| Problem::unreadable(error.to_string()))?;
            let mut decoder = Decoder::new(command, limits, Decoder::DEADLINE);
            let data_set = explicit_little(&scanned, &limits, |frame| decoder.decode(&scanned, frame))
                .map_err(|error| Problem::not_acceptable(format!("it cannot be decoded: {error}")))?;
            let meta = Meta {
                sop_class: record.sop_class.as_str(),
                sop_instance: record.uid.as_str(),
                transfer_syntax: EXPLICIT_LITTLE,
            };
            let mut file = meta.header();
            file.extend(data_set);
            Ok((file, room))
        };
        tokio::task::spawn_blocking(rewrite).await.map_err(|_| Problem::busy("the coordinator is stopping"))?
    }

    /// Bytes that are held of a stored object while it is read: with what it inflates to, where that is not known before.
    pub(crate) fn held_bytes(&self, instance: &Instance) -> usize {
        let stored = instance.record.instance.size_bytes as usize;
        let is_deflated = TransferSyntax::new(instance.record.instance.transfer_syntax.as_str()).is_deflated();
        // A thousandth is the best that deflate does.
        let inflated =
            if is_deflated { stored.saturating_mul(1_100).min(Limits::default().max_inflated_bytes) } else { 0 };
        stored + inflated
    }

    /// Bytes of all frames when they are decoded, and of one more as its decoder gives it.
    pub(crate) fn decoded_bytes(&self, instance: &Instance) -> usize {
        let Some(image) = &instance.record.instance.image else { return 0 };
        let pixels = image.rows as usize * image.columns as usize;
        // Two bytes of grey, or three of colour, or four: at most as much as an object may have.
        let frames = pixels.saturating_mul(4).saturating_mul(image.frames as usize);
        frames.min(Limits::default().max_object_bytes) + pixels.saturating_mul(4)
    }
}
