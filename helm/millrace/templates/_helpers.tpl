{{/* Names, labels and the image, shared by all templates. */}}
{{- define "millrace.name" -}}
{{- .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "millrace.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The selector never changes in the life of a release. Takes root and component. */}}
{{- define "millrace.selector" -}}
app.kubernetes.io/name: {{ include "millrace.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "millrace.labels" -}}
{{ include "millrace.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: millrace
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "millrace.annotations" -}}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "millrace.image" -}}
{{- $repository := required "image.repository is required: name the registry and repository that hold Millrace's image" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "millrace.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "millrace.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "millrace.catalogConfigMap" -}}
{{- .Values.catalog.existingConfigMap | default (printf "%s-catalog" (include "millrace.fullname" .)) -}}
{{- end -}}

{{/* What the schema can't say, with the way out. */}}
{{- define "millrace.validate" -}}
{{- if and .Values.kafka.sasl.mechanism (not .Values.kafka.sasl.passwordSecret.name) -}}
{{- fail "kafka.sasl.passwordSecret.name is required with kafka.sasl.mechanism: name the Secret that holds the password" -}}
{{- end -}}
{{- if and (not .Values.catalog.files) (not .Values.catalog.existingConfigMap) -}}
{{- fail "the catalog is required: set catalog.files or catalog.existingConfigMap" -}}
{{- end -}}
{{- if and .Values.catalog.files .Values.catalog.existingConfigMap -}}
{{- fail "catalog.files and catalog.existingConfigMap exclude each other: keep one" -}}
{{- end -}}
{{- if not .Values.dlqReplayer.tokenSecret.name -}}
{{- fail "dlqReplayer.tokenSecret.name is required: the API is reachable in the cluster and refuses to start without a bearer token" -}}
{{- end -}}
{{- end -}}
