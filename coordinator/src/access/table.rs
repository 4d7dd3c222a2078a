//! Which call takes which role. What is not in the table is refused.

use super::caller::Role;

/// What a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: anybody may call.
    Nothing,
    /// A caller who is known, in whatever role.
    Known,
    /// One of these roles.
    Role(&'static [Role]),
}

use Need::{Known, Nothing};
use Role::{Admin, Read, Review, Submit, Worker};

/// Services, their methods, and what each takes.
const TABLE: &[(&str, &[(&str, Need)])] = &[
    (
        "prelim.v1.StudyService",
        &[
            ("SubmitStudies", Need::Role(&[Submit])),
            ("SubmitFolder", Need::Role(&[Submit])),
            ("GetStudy", Need::Role(&[Read])),
            ("ListStudies", Need::Role(&[Read])),
            ("WatchStudies", Need::Role(&[Read])),
            ("TestRoute", Need::Role(&[Read])),
            ("GetReport", Need::Role(&[Read])),
            ("Reidentify", Need::Role(&[Read])),
            ("CompleteStudy", Need::Role(&[Submit, Admin])),
            ("CancelStudy", Need::Role(&[Submit, Admin])),
            ("RemoveStudy", Need::Role(&[Admin])),
        ],
    ),
    (
        "prelim.v1.WorkerService",
        &[
            ("Lease", Need::Role(&[Worker])),
            ("Renew", Need::Role(&[Worker])),
            ("Complete", Need::Role(&[Worker])),
            ("Fail", Need::Role(&[Worker])),
            ("Release", Need::Role(&[Worker])),
            ("ReadObject", Need::Role(&[Worker])),
        ],
    ),
    (
        "prelim.v1.ExchangeService",
        &[
            ("ListDeliveries", Need::Role(&[Read, Admin])),
            ("DeliverStudy", Need::Role(&[Admin])),
            ("FindRemoteStudies", Need::Role(&[Submit])),
            ("FetchRemoteStudy", Need::Role(&[Submit])),
        ],
    ),
    ("prelim.v1.ReviewService", &[("SignReport", Need::Role(&[Review])), ("RejectReport", Need::Role(&[Review]))]),
    (
        "prelim.v1.QuestionService",
        &[
            ("AskQuestion", Need::Role(&[Read])),
            ("GetQuestion", Need::Role(&[Read])),
            ("ListQuestions", Need::Role(&[Read])),
            ("DropQuestion", Need::Role(&[Read])),
        ],
    ),
    (
        "prelim.v1.QueueService",
        &[
            ("GetQueue", Need::Role(&[Read, Admin])),
            ("ListWorkers", Need::Role(&[Read, Admin])),
            ("ListDeadJobs", Need::Role(&[Read, Admin])),
            ("RequeueJob", Need::Role(&[Admin])),
            ("DrainWorker", Need::Role(&[Admin])),
        ],
    ),
    ("grpc.health.v1.Health", &[("Check", Nothing), ("Watch", Nothing), ("List", Nothing)]),
    ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", Known)]),
    ("grpc.reflection.v1alpha.ServerReflection", &[("ServerReflectionInfo", Known)]),
    // KEDA sends no credentials. It is told numbers only: how much work waits, of nobody in particular.
    (
        "externalscaler.ExternalScaler",
        &[("IsActive", Nothing), ("StreamIsActive", Nothing), ("GetMetricSpec", Nothing), ("GetMetrics", Nothing)],
    ),
];

/// What the call at `path` (`/package.Service/Method`) takes, with its name for messages; nothing where it is in no table.
pub fn need(path: &str) -> Option<(&'static str, Need)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, methods) = TABLE.iter().find(|(name, _)| *name == service)?;
    methods.iter().find(|(name, _)| *name == method).copied()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_that_is_served_is_in_the_table() {
        let sets = [
            prelim_proto::v1::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut walked = 0;
        for file in sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file) {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    assert!(need(&path).is_some(), "{path}: who may call it?");
                    walked += 1;
                }
            }
        }
        assert!(walked >= 17, "{walked} methods");
    }

    #[test]
    fn only_numbers_and_health_are_open() {
        for (service, methods) in TABLE {
            for (method, need) in *methods {
                let open = matches!(*service, "grpc.health.v1.Health" | "externalscaler.ExternalScaler");
                assert_eq!(*need == Nothing, open, "{service}/{method}");
            }
        }
    }

    #[test]
    fn what_is_not_in_the_table_takes_what_nobody_has() {
        for path in
            ["", "/", "/x", "/prelim.v1.StudyService", "/prelim.v1.StudyService/", "/prelim.v1.StudyService/Delete"]
        {
            assert_eq!(need(path), None, "{path:?}");
        }
        let lease = need("/prelim.v1.WorkerService/Lease").unwrap();
        assert_eq!(lease, ("Lease", Need::Role(&[Worker])));
    }
}
