//! A coordinator on a free port, clients of it, and small DICOM objects.

use std::path::Path;

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use prelim_coordinator::{CoordinatorConfig, Listeners, ServeError, open, serve};
use prelim_imaging::sandbox::DecoderCommand;
use prelim_proto::v1::study_service_client::StudyServiceClient;
use prelim_proto::v1::submit_studies_request::Part;
use prelim_proto::v1::worker_service_client::WorkerServiceClient;
use prelim_proto::v1::{ObjectEnd, ObjectStart, SubmitHeader, SubmitStudiesRequest, SubmitStudiesResponse};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// A coordinator that serves.
pub(crate) struct Running {
    pub(crate) studies: StudyServiceClient<Channel>,
    pub(crate) workers: WorkerServiceClient<Channel>,
    pub(crate) address: String,
    stopping: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::with(CoordinatorConfig { data: data.to_owned(), ..CoordinatorConfig::default() }).await
    }

    pub(crate) async fn with(config: CoordinatorConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        // Native pixels need no decoder process.
        let decoder = DecoderCommand { program: "/bin/false".into(), arguments: vec![], environment: Vec::new() };
        let opened = open(config, decoder).await.unwrap();
        let stopping = CancellationToken::new();
        let signal = Box::pin(stopping.clone().cancelled_owned());
        let served = tokio::spawn(serve(opened, Listeners::on(listener), signal));
        let channel = Channel::from_shared(address.clone()).unwrap().connect().await.unwrap();
        Self {
            studies: StudyServiceClient::new(channel.clone()),
            workers: WorkerServiceClient::new(channel),
            address,
            stopping,
            served,
        }
    }

    /// Stops it as a signal would, and waits.
    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        drop((self.studies, self.workers));
        self.served.await.unwrap().unwrap();
    }

    /// Uploads objects in one stream.
    pub(crate) async fn submit(&mut self, request_id: &str, objects: Vec<(&str, Vec<u8>)>) -> SubmitStudiesResponse {
        self.try_submit(request_id, objects).await.unwrap()
    }

    /// The same where it may be refused whole.
    pub(crate) async fn try_submit(
        &mut self,
        request_id: &str,
        objects: Vec<(&str, Vec<u8>)>,
    ) -> Result<SubmitStudiesResponse, tonic::Status> {
        let mut parts = vec![Part::Header(SubmitHeader { request_id: request_id.into(), ..SubmitHeader::default() })];
        for (name, bytes) in objects {
            parts.push(Part::Start(ObjectStart { name: name.into(), size_bytes: bytes.len() as u64 }));
            parts.extend(bytes.chunks(700).map(|chunk| Part::Chunk(chunk.to_vec())));
            parts.push(Part::End(ObjectEnd { digest: prelim_imaging::header::digest(&bytes).into() }));
        }
        let messages = parts.into_iter().map(|part| SubmitStudiesRequest { part: Some(part) });
        let messages = tokio_stream::iter(messages.collect::<Vec<_>>());
        Ok(self.studies.submit_studies(messages).await?.into_inner())
    }
}

/// A CT slice of 8 × 8 pixels at `z` mm, in study 1.2.`study`.
pub(crate) fn slice(study: u32, number: u32) -> Vec<u8> {
    let mut object = InMemDicomObject::new_empty();
    let mut put = |tag, vr, value: PrimitiveValue| {
        object.put(DataElement::new(tag, vr, value));
    };
    put(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2".into());
    put(tags::SOP_INSTANCE_UID, VR::UI, format!("1.2.{study}.3.{number}").into());
    put(tags::STUDY_INSTANCE_UID, VR::UI, format!("1.2.{study}").into());
    put(tags::SERIES_INSTANCE_UID, VR::UI, format!("1.2.{study}.3").into());
    put(tags::MODALITY, VR::CS, "CT".into());
    put(tags::IMAGE_TYPE, VR::CS, dicom_value!(Strs, ["ORIGINAL", "PRIMARY", "AXIAL"]));
    put(tags::BODY_PART_EXAMINED, VR::CS, "CHEST".into());
    put(tags::PATIENT_NAME, VR::PN, "PHANTOM^ONE".into());
    put(tags::INSTANCE_NUMBER, VR::IS, number.to_string().into());
    put(tags::IMAGE_POSITION_PATIENT, VR::DS, dicom_value!(Strs, ["0", "0", &(number * 5).to_string()]));
    put(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, dicom_value!(Strs, ["1", "0", "0", "0", "1", "0"]));
    put(tags::PIXEL_SPACING, VR::DS, dicom_value!(Strs, ["1", "1"]));
    put(tags::SAMPLES_PER_PIXEL, VR::US, 1u16.into());
    put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".into());
    put(tags::ROWS, VR::US, 8u16.into());
    put(tags::COLUMNS, VR::US, 8u16.into());
    put(tags::BITS_ALLOCATED, VR::US, 16u16.into());
    put(tags::BITS_STORED, VR::US, 16u16.into());
    put(tags::HIGH_BIT, VR::US, 15u16.into());
    put(tags::PIXEL_REPRESENTATION, VR::US, 1u16.into());
    put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16((0..64).map(|i| i * 16).collect()));
    let meta = FileMetaTableBuilder::new().transfer_syntax("1.2.840.10008.1.2.1");
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}
