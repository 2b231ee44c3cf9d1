{{/*
Whether an object of the Prometheus Operator is rendered: it was asked for, and its kind is served or renderMode says so.
(dict "root" $ "what" "serviceMonitor" "kind" "ServiceMonitor")
*/}}
{{- define "workerpool.monitoring.renders" -}}
{{- $metrics := .root.Values.metrics }}
{{- if (get $metrics .what).enabled }}
{{- $served := .root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind) }}
{{- if or $served (eq $metrics.renderMode "alwaysRender") -}}
true
{{- else if eq $metrics.renderMode "failIfMissing" }}
{{- fail (printf "metrics.%s.enabled: this cluster serves no %s (monitoring.coreos.com/v1). Install the Prometheus Operator first, or set metrics.renderMode to skipIfMissing or alwaysRender" .what .kind) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether worker pods are to be scraped: they go with the operator, whichever monitor it has. */}}
{{- define "workerpool.monitoring.workersWanted" -}}
{{- $metrics := .Values.metrics }}
{{- if and $metrics.workerPodMonitor.enabled (or $metrics.serviceMonitor.enabled $metrics.podMonitor.enabled) -}}
true
{{- end }}
{{- end }}

{{/* Whether they are: their PodMonitor is rendered. A kind that is missing is the operator's PodMonitor's to complain of, if there is one. */}}
{{- define "workerpool.monitoring.workersScraped" -}}
{{- if include "workerpool.monitoring.workersWanted" . }}
{{- include "workerpool.monitoring.renders" (dict "root" . "what" (ternary "podMonitor" "workerPodMonitor" .Values.metrics.podMonitor.enabled) "kind" "PodMonitor") }}
{{- end }}
{{- end }}

{{/* What was asked for and left out, for NOTES.txt; nothing where all is there. */}}
{{- define "workerpool.monitoring.notes" -}}
{{- $left := list }}
{{- range $what, $kind := dict "serviceMonitor" "ServiceMonitor" "podMonitor" "PodMonitor" "prometheusRule" "PrometheusRule" }}
{{- if and (get $.Values.metrics $what).enabled (not (include "workerpool.monitoring.renders" (dict "root" $ "what" $what "kind" $kind))) }}
{{- $left = append $left $kind }}
{{- end }}
{{- end }}
{{- if and (include "workerpool.monitoring.workersWanted" .) (not (include "workerpool.monitoring.workersScraped" .)) }}
{{- $left = append $left "PodMonitor" }}
{{- end }}
{{- $left = uniq $left }}
{{- if $left }}
WARNING: not installed, although asked for: {{ join ", " (sortAlpha $left) }}.
This cluster does not serve monitoring.coreos.com/v1: install the Prometheus Operator and run the same helm upgrade again.
{{- end }}
{{- end }}

{{/* The value of the label `operator`, which tells this installation's series from those of another one. */}}
{{- define "workerpool.monitoring.operator" -}}
{{ .Release.Namespace }}/{{ include "workerpool.operator.fullname" . }}
{{- end }}

{{- define "workerpool.monitoring.selector" -}}
{{- .Values.metrics.prometheusRule.selector | default (printf "operator=%q" (include "workerpool.monitoring.operator" .)) }}
{{- end }}

{{- define "workerpool.monitoring.runbookUrl" -}}
{{- .Values.metrics.prometheusRule.runbookUrl | default (printf "%s/blob/main/docs/monitoring.md" .Chart.Home) }}
{{- end }}

{{/*
How the operator is scraped, the same for both monitors: (dict "root" $ "monitor" .Values.metrics.serviceMonitor).
Its workers too, with "port" (of their pods) and "pool", which adds a label to what Prometheus says of the target itself.
*/}}
{{- define "workerpool.monitoring.endpoint" -}}
port: {{ .port | default "metrics" }}
path: /metrics
interval: {{ .monitor.interval }}
scrapeTimeout: {{ .monitor.scrapeTimeout }}
# The operator tells of pools in other namespaces: its label `namespace` must not be replaced by its own namespace.
# Workers say the same of themselves as Prometheus does.
honorLabels: true
relabelings:
  - action: replace
    targetLabel: operator
    replacement: {{ include "workerpool.monitoring.operator" .root }}
  {{- if .pool }}
  - action: replace
    sourceLabels: [__meta_kubernetes_pod_label_workerpool_dev_pool]
    targetLabel: pool
  {{- end }}
  {{- with .monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
