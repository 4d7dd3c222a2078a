{{/* What the pods of every role have in common. */}}

{{/* The head of a pod's spec. (list ROOT SERVICE_ACCOUNT) */}}
{{- define "prelim.pod" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ index . 1 }}
# Nothing here calls the Kubernetes API.
automountServiceAccountToken: false
# Service links would put PRELIM_… variables of the cluster's among those that the program reads.
enableServiceLinks: false
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Where a pod may run. (list VALUES SELECTOR_YAML) */}}
{{- define "prelim.placement" -}}
{{- $values := index . 0 -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $spread := $values.topologySpread | default (dict "enabled" false) }}
{{- if $spread.enabled }}
topologySpreadConstraints:
  {{- if $spread.constraints }}
  {{- toYaml $spread.constraints | nindent 2 }}
  {{- else }}
  {{- $selector := index . 1 }}
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    {{- if hasSuffix "zone" $key }}
    # Always so: where nodes have no zone, anything stricter would let no pod start.
    whenUnsatisfiable: ScheduleAnyway
    {{- else }}
    whenUnsatisfiable: {{ $spread.whenUnsatisfiable }}
    {{- end }}
    # Only pods of the same revision count, else an update leaves the new ones in a heap.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Variables of every role. */}}
{{- define "prelim.env" -}}
- {name: PRELIM_LOG, value: {{ .Values.log.filter | quote }}}
- {name: PRELIM_LOG_JSON, value: {{ .Values.log.json | quote }}}
{{- with .Values.tracing.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- end -}}

{{/* A number that values may leave to the program. (list VARIABLE VALUE) */}}
{{- define "prelim.setting" -}}
{{- $value := index . 1 -}}
{{- if not (kindIs "invalid" $value) }}
- {name: {{ index . 0 }}, value: {{ kindIs "float64" $value | ternary (printf "%.0f" (float64 $value)) (toString $value) | quote }}}
{{- end }}
{{- end -}}

{{/* A variable out of a Secret. (list VARIABLE SECRET KEY) */}}
{{- define "prelim.secretEnv" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef: {name: {{ index . 1 }}, key: {{ index . 2 }}}
{{- end -}}

{{/* A volume with some keys of a Secret, as files by the names given. (list VOLUME SECRET KEY FILE [KEY FILE …]) */}}
{{- define "prelim.secretVolume" -}}
{{- $arguments := . -}}
- name: {{ index . 0 }}
  secret:
    secretName: {{ index . 1 }}
    # For the group that fsGroup gives the volume to, and for nobody else.
    defaultMode: 0440
    items:
    {{- range $at := untilStep 2 (len .) 2 }}
      - {key: {{ index $arguments $at }}, path: {{ index $arguments (add1 $at) }}}
    {{- end }}
{{- end -}}

{{/* Probes on the metrics port: plain HTTP, which no firewall of a GPU's work stands before. */}}
{{- define "prelim.probes" -}}
{{- $startup := dict "periodSeconds" 2 "timeoutSeconds" 3 "failureThreshold" (div (add .startupSeconds 1) 2) -}}
startupProbe:
  httpGet: {path: /livez, port: metrics}
  {{- toYaml $startup | nindent 2 }}
livenessProbe:
  httpGet: {path: /livez, port: metrics}
  {{- toYaml .liveness | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  {{- toYaml .readiness | nindent 2 }}
{{- end -}}

{{/* How a client of the coordinator trusts it and shows itself. (list ROOT CERTIFICATE_SECRET) */}}
{{- define "prelim.client.env" -}}
{{- $root := index . 0 -}}
- {name: PRELIM_GRPC, value: {{ include "prelim.coordinator.url" $root | quote }}}
{{- if $root.Values.tls.enabled }}
- {name: PRELIM_CA, value: /etc/prelim/ca/ca.crt}
{{- if $root.Values.tls.client.enabled }}
- {name: PRELIM_CERT, value: /etc/prelim/client/tls.crt}
- {name: PRELIM_KEY, value: /etc/prelim/client/tls.key}
{{- end }}
{{- end }}
{{- if $root.Values.access.workerToken.existingSecret }}
- {name: PRELIM_TOKEN_FILE, value: /etc/prelim/token/token}
{{- else if $root.Values.access.workerToken.projected }}
- {name: PRELIM_TOKEN_FILE, value: /etc/prelim/token/token}
{{- end }}
{{- end -}}

{{- define "prelim.client.mounts" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.tls.enabled }}
- {name: ca, mountPath: /etc/prelim/ca, readOnly: true}
{{- if $root.Values.tls.client.enabled }}
- {name: client, mountPath: /etc/prelim/client, readOnly: true}
{{- end }}
{{- end }}
{{- if or $root.Values.access.workerToken.existingSecret $root.Values.access.workerToken.projected }}
- {name: token, mountPath: /etc/prelim/token, readOnly: true}
{{- end }}
{{- end -}}

{{- define "prelim.client.volumes" -}}
{{- $root := index . 0 -}}
{{- $tls := $root.Values.tls -}}
{{- $token := $root.Values.access.workerToken -}}
{{- if $tls.enabled }}
{{ include "prelim.secretVolume" (list "ca" ($tls.caSecret | default $tls.existingSecret) $tls.caKey "ca.crt") }}
{{- if $tls.client.enabled }}
{{ include "prelim.secretVolume" (list "client" (index . 1) $tls.client.certKey "tls.crt" $tls.client.keyKey "tls.key") }}
{{- end }}
{{- end }}
{{- if $token.existingSecret }}
{{ include "prelim.secretVolume" (list "token" $token.existingSecret $token.key "token") }}
{{- else if $token.projected }}
- name: token
  projected:
    defaultMode: 0440
    sources:
      # For the coordinator alone: the API server does not take a token of this audience.
      - serviceAccountToken:
          audience: {{ $root.Values.access.oidc.audience | quote }}
          expirationSeconds: {{ $token.expirationSeconds }}
          path: token
{{- end }}
{{- end -}}
