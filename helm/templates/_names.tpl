{{/* Names and labels. Names are cut to 40 characters, so that the longest suffix, -coordinator-metrics, fits into 63. */}}

{{- define "prelim.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "prelim.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "prelim.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "prelim.coordinator" -}}{{ include "prelim.fullname" . }}-coordinator{{- end -}}
{{- define "prelim.worker" -}}{{ include "prelim.fullname" . }}-worker{{- end -}}
{{- define "prelim.redis" -}}{{ include "prelim.fullname" . }}-redis{{- end -}}

{{/* Host of the coordinator's Service, as certificates name it. */}}
{{- define "prelim.coordinator.host" -}}
{{ include "prelim.coordinator" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* What workers, tests and KEDA connect to: HOST:PORT. */}}
{{- define "prelim.coordinator.address" -}}
{{ include "prelim.coordinator.host" . }}:{{ .Values.coordinator.service.port }}
{{- end -}}

{{- define "prelim.coordinator.url" -}}
{{- if .Values.tls.enabled }}https://{{ end }}{{ include "prelim.coordinator.address" . -}}
{{- end -}}

{{/* What never changes in a release: selectors are immutable. (list ROOT COMPONENT) */}}
{{- define "prelim.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "prelim.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object. (list ROOT COMPONENT) */}}
{{- define "prelim.labels" -}}
{{- $root := index . 0 -}}
{{ include "prelim.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: prelim
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod: no versions, so that an update of the chart alone starts no pod anew. (list ROOT COMPONENT) */}}
{{- define "prelim.podLabels" -}}
{{ include "prelim.selector" . }}
app.kubernetes.io/part-of: prelim
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object. (list ROOT COMPONENT NAME [LABELS [ANNOTATIONS]]) */}}
{{- define "prelim.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := dict -}}
{{- $annotations := deepCopy $root.Values.commonAnnotations -}}
{{- if gt (len .) 3 }}{{ $labels = index . 3 | default dict }}{{ end -}}
{{- if gt (len .) 4 }}{{ $annotations = mergeOverwrite $annotations (index . 4 | default dict) }}{{ end -}}
name: {{ index . 2 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "prelim.labels" (list $root (index . 1)) | nindent 2 }}
  {{- with $labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* An image by digest, or by tag. (list IMAGE DEFAULT_TAG) */}}
{{- define "prelim.image" -}}
{{- $image := index . 0 -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default (index . 1) }}{{ end -}}
{{- end -}}

{{/* Whose service account a role runs under. (list ROOT VALUES DEFAULT_NAME) */}}
{{- define "prelim.serviceAccount" -}}
{{- $values := index . 1 -}}
{{- if $values.create }}{{ $values.name | default (index . 2) }}{{ else }}{{ $values.name | default "default" }}{{ end -}}
{{- end -}}
