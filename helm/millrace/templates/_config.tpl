{{/* The process configuration, one file for all services. */}}
{{- define "millrace.config" -}}
[kafka]
bootstrap_servers = {{ required "kafka.bootstrapServers is required: the brokers' host:port list" .Values.kafka.bootstrapServers | quote }}
{{- if .Values.kafka.tls.enabled }}
tls.enabled = true
{{- if .Values.kafka.tls.caSecret.name }}
tls.ca_file = "/run/secrets/kafka-ca/{{ .Values.kafka.tls.caSecret.key }}"
{{- end }}
{{- if .Values.kafka.tls.clientCertSecret.name }}
tls.cert_file = "/run/secrets/kafka-client/{{ .Values.kafka.tls.clientCertSecret.certKey }}"
tls.key_file = "/run/secrets/kafka-client/{{ .Values.kafka.tls.clientCertSecret.keyKey }}"
{{- end }}
{{- end }}
{{- with .Values.kafka.sasl }}
{{- if .mechanism }}
sasl.mechanism = {{ .mechanism | quote }}
sasl.username = {{ .username | quote }}
sasl.password_file = "/run/secrets/kafka-sasl/{{ .passwordSecret.key }}"
{{- end }}
{{- end }}
{{- with .Values.kafka.properties }}

[kafka.properties]
{{- range $key, $value := . }}
{{ $key | quote }} = {{ $value | toString | quote }}
{{- end }}
{{- end }}

[registry]
url = {{ required "schemaRegistry.url is required: the base of the registry's Confluent API" .Values.schemaRegistry.url | quote }}
{{- with .Values.schemaRegistry.auth }}
{{- if .username }}
username = {{ .username | quote }}
password_file = "/run/secrets/registry/{{ .passwordSecret.key }}"
{{- end }}
{{- end }}

[topics]
prefix = {{ .Values.topics.prefix | quote }}
replication = {{ .Values.topics.replication }}

[catalog]
folder = "/etc/millrace/catalog"

[admin]
listen = "0.0.0.0:9090"

[shutdown]
drain_seconds = {{ .Values.shutdown.drainSeconds }}
timeout_seconds = {{ .Values.shutdown.timeoutSeconds }}

[log]
format = "json"
level = {{ .Values.log.level | quote }}
{{- if .Values.telemetry.otlpEndpoint }}

[telemetry]
otlp_endpoint = {{ .Values.telemetry.otlpEndpoint | quote }}
sample_ratio = {{ .Values.telemetry.sampleRatio }}
environment = {{ .Values.telemetry.environment | quote }}
{{- end }}

[ingest]
listen = "0.0.0.0:8080"
{{- include "millrace.tomlKeys" .Values.ingest.config }}
{{- with .Values.transform.config }}

[transform]
{{- include "millrace.tomlKeys" . }}
{{- end }}
{{- with .Values.deliver.config }}

[deliver]
{{- include "millrace.tomlKeys" . }}
{{- end }}

[dlq_replayer]
listen = "0.0.0.0:8081"
token_file = "/run/secrets/dlq-token/{{ .Values.dlqReplayer.tokenSecret.key }}"
{{- include "millrace.tomlKeys" .Values.dlqReplayer.config }}
{{- end -}}

{{/* Flat keys; a dotted key reaches into a table. */}}
{{- define "millrace.tomlKeys" -}}
{{- range $key, $value := . }}
{{ $key }} = {{ $value | toJson }}
{{- end }}
{{- end -}}
