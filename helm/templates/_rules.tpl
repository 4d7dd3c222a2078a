{{/* What follows from the values, and which values cannot be. */}}

{{- define "prelim.redisEnabled" -}}
{{- if or .Values.redis.trial.enabled .Values.redis.external.url .Values.redis.external.urlKey }}true{{ end -}}
{{- end -}}

{{/* Bytes lie where every coordinator reaches them. */}}
{{- define "prelim.bytesShared" -}}
{{- if or .Values.bytes.s3.bucket .Values.bytes.shared.enabled }}true{{ end -}}
{{- end -}}

{{/* The coordinator's own folder holds what must not be lost: jobs, bytes or both. */}}
{{- define "prelim.dataPrecious" -}}
{{- if not (and (include "prelim.redisEnabled" .) (include "prelim.bytesShared" .)) }}true{{ end -}}
{{- end -}}

{{/* A pool: the defaults with what it says itself laid over them, as YAML. (list ROOT NAME) */}}
{{- define "prelim.pool" -}}
{{- $root := index . 0 -}}
{{- $own := get $root.Values.workers.pools (index . 1) | default dict -}}
{{- mergeOverwrite (deepCopy $root.Values.workers.defaults) (deepCopy $own) | toYaml -}}
{{- end -}}

{{/* Names of the pools that are installed, as YAML. */}}
{{- define "prelim.pools" -}}
{{- $root := . -}}
{{- $names := list -}}
{{- range $name := keys .Values.workers.pools | sortAlpha -}}
{{- if (include "prelim.pool" (list $root $name) | fromYaml).enabled }}{{ $names = append $names $name }}{{ end -}}
{{- end -}}
{{- $names | toYaml -}}
{{- end -}}

{{/* Whether some pool is scaled so. (list ROOT MODE) */}}
{{- define "prelim.anyScaledBy" -}}
{{- $root := index . 0 -}}
{{- $mode := index . 1 -}}
{{- range $name := include "prelim.pools" $root | fromYamlArray -}}
{{- if eq (include "prelim.pool" (list $root $name) | fromYaml).autoscaling.mode $mode }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* Every problem at once, not the first. */}}
{{- define "prelim.validate" -}}
{{- $root := . -}}
{{- $values := .Values -}}
{{- $redis := include "prelim.redisEnabled" . -}}
{{- $problems := list -}}
{{- if and (gt (int $values.coordinator.replicas) 1) (not $redis) -}}
{{- $problems = append $problems "coordinator.replicas is above 1: several coordinators share their jobs through Redis; set redis.external.url (or redis.trial.enabled)" -}}
{{- end -}}
{{- if and (gt (int $values.coordinator.replicas) 1) (not (include "prelim.bytesShared" .)) -}}
{{- $problems = append $problems "coordinator.replicas is above 1: several coordinators need one place for bytes; set bytes.s3.bucket, or bytes.shared.enabled with a ReadWriteMany volume" -}}
{{- end -}}
{{- if and $values.redis.trial.enabled (or $values.redis.external.url $values.redis.external.urlKey) -}}
{{- $problems = append $problems "redis.trial and redis.external are both set: choose one" -}}
{{- end -}}
{{- if and $values.redis.trial.enabled (not $values.redis.trial.existingSecret) -}}
{{- $problems = append $problems (printf "redis.trial.existingSecret is empty: make one with `kubectl create secret generic prelim-redis -n %s --from-literal=password=$(openssl rand -hex 24)` and name it" .Release.Namespace) -}}
{{- end -}}
{{- with $values.redis.external -}}
{{- if and .urlKey (not .existingSecret) -}}
{{- $problems = append $problems "redis.external.urlKey needs redis.external.existingSecret" -}}
{{- end -}}
{{- if and .url .urlKey -}}
{{- $problems = append $problems "redis.external.url and redis.external.urlKey are both set: choose one" -}}
{{- end -}}
{{- if ne (empty .tls.certKey) (empty .tls.keyKey) -}}
{{- $problems = append $problems "redis.external.tls.certKey and keyKey go together" -}}
{{- end -}}
{{- end -}}
{{- if and $values.bytes.s3.bucket $values.bytes.shared.enabled -}}
{{- $problems = append $problems "bytes.s3 and bytes.shared are both set: choose one" -}}
{{- end -}}
{{- if and (hasPrefix "http://" $values.bytes.s3.endpoint) (not $values.bytes.s3.allowHttp) -}}
{{- $problems = append $problems "bytes.s3.endpoint is http:// and would carry images and keys in the clear: use https://, or set bytes.s3.allowHttp" -}}
{{- end -}}
{{- with $values.tls -}}
{{- if and .enabled (not .existingSecret) -}}
{{- $problems = append $problems "tls.enabled needs tls.existingSecret" -}}
{{- end -}}
{{- if .client.enabled -}}
{{- if not .enabled -}}{{- $problems = append $problems "tls.client.enabled needs tls.enabled" -}}{{- end -}}
{{- if not .client.workerSecret -}}{{- $problems = append $problems "tls.client.enabled needs tls.client.workerSecret: without a certificate no worker gets in" -}}{{- end -}}
{{- if and (include "prelim.anyScaledBy" (list $root "keda")) (not .client.kedaSecret) -}}{{- $problems = append $problems "tls.client.enabled needs tls.client.kedaSecret: KEDA's operator connects to the coordinator" -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- with $values.access -}}
{{- if and .toml .existingConfigMap -}}{{- $problems = append $problems "access.toml and access.existingConfigMap are both set: choose one" -}}{{- end -}}
{{- if and .workerToken.existingSecret .workerToken.projected -}}{{- $problems = append $problems "access.workerToken.existingSecret and projected are both set: choose one" -}}{{- end -}}
{{- if and .workerToken.projected (not .oidc.audience) -}}{{- $problems = append $problems "access.workerToken.projected needs access.oidc.audience" -}}{{- end -}}
{{- if and .oidc.issuer (not .oidc.audience) -}}{{- $problems = append $problems "access.oidc.issuer needs access.oidc.audience: else a token made for another service is taken" -}}{{- end -}}
{{- end -}}
{{- if and $values.tenants.toml $values.tenants.existingConfigMap -}}
{{- $problems = append $problems "tenants.toml and tenants.existingConfigMap are both set: choose one" -}}
{{- end -}}
{{- if and $values.rules.toml $values.rules.existingConfigMap -}}
{{- $problems = append $problems "rules.toml and rules.existingConfigMap are both set: choose one" -}}
{{- end -}}
{{- if and $values.dicom.peers.toml $values.dicom.peers.existingConfigMap -}}
{{- $problems = append $problems "dicom.peers.toml and dicom.peers.existingConfigMap are both set: choose one" -}}
{{- end -}}
{{- if and $values.dicom.tls (not $values.tls.enabled) -}}
{{- $problems = append $problems "dicom.tls needs tls.enabled" -}}
{{- end -}}
{{- if $values.networkPolicy.enabled -}}
{{- $addresses := dict "redis.external.url" "redis" "bytes.s3.endpoint" "s3" "access.oidc.issuer" "oidc" "tracing.endpoint" "tracing" -}}
{{- range $setting, $rule := $addresses -}}
{{- $address := $values -}}
{{- range $key := splitList "." $setting -}}{{- $address = index $address $key -}}{{- end -}}
{{- $let := list -}}
{{- range (index $values.networkPolicy $rule).ports -}}{{- $let = append $let (toString .) -}}{{- end -}}
{{- range $found := regexFindAll ":[0-9]+(/|,|$)" $address -1 | uniq -}}
{{- $port := regexFind "[0-9]+" $found -}}
{{- if not (has $port $let) -}}
{{- $problems = append $problems (printf "%s goes to port %s, which networkPolicy.%s.ports does not let through: add it there" $setting $port $rule) | uniq -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name := include "prelim.pools" . | fromYamlArray -}}
{{- $pool := include "prelim.pool" (list $root $name) | fromYaml -}}
{{- $at := printf "workers.pools.%s" $name -}}
{{- if and (eq $pool.model.source "pvc") (not $pool.model.pvc.existingClaim) -}}
{{- $problems = append $problems (printf "%s.model.source is pvc and model.pvc.existingClaim is empty" $at) -}}
{{- end -}}
{{- if eq $pool.model.source "image" -}}
{{- if not $pool.model.image.reference -}}
{{- $problems = append $problems (printf "%s.model.source is image and model.image.reference is empty" $at) -}}
{{- end -}}
{{- if semverCompare "<1.33.0-0" $root.Capabilities.KubeVersion.Version -}}
{{- $problems = append $problems (printf "%s.model.source is image: image volumes need Kubernetes 1.33 or later, this is %s" $at $root.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $pool.model.source "init") (not $pool.model.init.image) -}}
{{- $problems = append $problems (printf "%s.model.source is init and model.init.image is empty" $at) -}}
{{- end -}}
{{- if and $pool.model.prompts.existingConfigMap (eq $pool.model.source "demo") -}}
{{- $problems = append $problems (printf "%s.model.prompts.existingConfigMap is for a model of yours: the demonstration model takes its own prompt only" $at) -}}
{{- end -}}
{{- if and $pool.model.adapters (eq $pool.model.source "demo") -}}
{{- $problems = append $problems (printf "%s.model.adapters are for a model of yours, in whose volume they are" $at) -}}
{{- end -}}
{{- if and $pool.model.adapters (ne $pool.autoscaling.mode "none") (not $pool.model.name) -}}
{{- $problems = append $problems (printf "%s.model.adapters needs model.name: KEDA counts the work for a pool by it" $at) -}}
{{- end -}}
{{- if and $pool.model.prompts.names (not $pool.model.name) -}}
{{- $problems = append $problems (printf "%s.model.prompts.names needs model.name: KEDA counts the work for a pool by it" $at) -}}
{{- end -}}
{{- with $pool.autoscaling -}}
{{- if and (ne .mode "none") (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- $problems = append $problems (printf "%s.autoscaling.minReplicas is above maxReplicas" $at) -}}
{{- end -}}
{{- if eq .mode "hpa" -}}
{{- if lt (int .minReplicas) 1 -}}{{- $problems = append $problems (printf "%s.autoscaling.minReplicas is 0: only keda scales to nothing" $at) -}}{{- end -}}
{{- if and (eq (int .hpa.cpuPercent) 0) (not .hpa.backlogMetric) -}}{{- $problems = append $problems (printf "%s.autoscaling.hpa has nothing to scale by: set cpuPercent or backlogMetric" $at) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\nprelim cannot be installed so:\n  - %s" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}
