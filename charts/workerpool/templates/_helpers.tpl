{{/* The chart's name. */}}
{{- define "workerpool.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
The prefix of all names. Cut at 42 characters so that the longest suffix (-operator-metrics) still makes a DNS label.
*/}}
{{- define "workerpool.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $full .Values.fullnameOverride | trunc 42 | trimSuffix "-" }}
{{- end }}

{{- define "workerpool.operator.fullname" -}}
{{ include "workerpool.fullname" . }}-operator
{{- end }}

{{- define "workerpool.redis.fullname" -}}
{{ include "workerpool.fullname" . }}-redis
{{- end }}

{{- define "workerpool.chart" -}}
{{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Labels of every object. The chart's own win over the user's: selectors and tools rely on them. */}}
{{- define "workerpool.labels" -}}
{{- $own := dict
  "helm.sh/chart" (include "workerpool.chart" .)
  "app.kubernetes.io/name" (include "workerpool.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/part-of" "workerpool"
  "app.kubernetes.io/managed-by" .Release.Service -}}
{{ toYaml (merge $own .Values.commonLabels) }}
{{- end }}

{{- define "workerpool.operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "workerpool.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "workerpool.redis.selectorLabels" -}}
app.kubernetes.io/name: {{ include "workerpool.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: redis
{{- end }}

{{/*
The metadata of an object. (dict "root" $ "name" "…" "component" "operator"), and if wanted "namespace" (empty: the
release's; "-" for what has none), "labels", "annotations".
*/}}
{{- define "workerpool.metadata" -}}
{{- $root := .root -}}
name: {{ .name }}
{{- if ne (.namespace | default "") "-" }}
namespace: {{ .namespace | default $root.Release.Namespace }}
{{- end }}
{{- $labels := include "workerpool.labels" $root | fromYaml }}
{{- with .component }}{{ $_ := set $labels "app.kubernetes.io/component" . }}{{ end }}
labels:
  {{- toYaml (merge $labels (.labels | default dict)) | nindent 2 }}
{{- with merge dict (.annotations | default dict) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels of a pod: (dict "root" $ "selector" "<yaml>" "labels" {}). Without the chart's version, which would restart pods for nothing. */}}
{{- define "workerpool.podLabels" -}}
{{- $own := merge (fromYaml .selector) (dict "app.kubernetes.io/part-of" "workerpool" "app.kubernetes.io/managed-by" .root.Release.Service) -}}
{{ toYaml (merge $own .labels .root.Values.commonLabels) }}
{{- end }}

{{/* An image: (dict "image" .Values.image "default" .Chart.AppVersion). A digest wins over the tag. */}}
{{- define "workerpool.image" -}}
{{- $name := .image.registry | empty | ternary .image.repository (printf "%s/%s" .image.registry .image.repository) -}}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{ $name }}:{{ .image.tag | default .default }}
{{- end }}
{{- end }}

{{- define "workerpool.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "workerpool.operator.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* The Secret with the demo Redis's address and password. */}}
{{- define "workerpool.redis.secretName" -}}
{{- .Values.redis.auth.existingSecret | default (include "workerpool.redis.fullname" .) }}
{{- end }}

{{/*
The Secret, and its key, that leads to the broker of pools which name none, as YAML; nothing where there is none.
*/}}
{{- define "workerpool.broker" -}}
{{- if .Values.broker.existingSecret }}
urlSecretRef:
  name: {{ .Values.broker.existingSecret }}
  key: {{ .Values.broker.key }}
{{- else if .Values.broker.url }}
url: {{ .Values.broker.url | quote }}
{{- else if .Values.redis.enabled }}
urlSecretRef:
  name: {{ include "workerpool.redis.secretName" . }}
  key: url
{{- end }}
{{- end }}

{{- define "workerpool.test.selectorLabels" -}}
app.kubernetes.io/name: {{ include "workerpool.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end }}
