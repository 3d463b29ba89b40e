{{/* The service of a component that listens. The admin port is never on it. */}}
{{- define "millrace.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "millrace.fullname" .root }}-{{ .component }}
  labels:
    {{- include "millrace.labels" . | nindent 4 }}
  {{- with merge (dict) .values.service.annotations .root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .values.service.type }}
  selector:
    {{- include "millrace.selector" . | nindent 4 }}
  ports:
    - { name: http, port: {{ .values.service.port }}, targetPort: http, protocol: TCP }
{{- end -}}

{{/* A StatefulSet and its headless service: a stable name is the group's member and the transactions' id. */}}
{{- define "millrace.statefulSet" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "millrace.fullname" .root }}-{{ .component }}
  labels:
    {{- include "millrace.labels" . | nindent 4 }}
  {{- include "millrace.annotations" .root | nindent 2 }}
spec:
  replicas: {{ .values.replicas }}
  revisionHistoryLimit: 5
  serviceName: {{ include "millrace.fullname" .root }}-{{ .component }}
  podManagementPolicy: Parallel
  minReadySeconds: 15
  selector:
    matchLabels:
      {{- include "millrace.selector" . | nindent 6 }}
  template:
    {{- include "millrace.podTemplate" . | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "millrace.fullname" .root }}-{{ .component }}
  labels:
    {{- include "millrace.labels" . | nindent 4 }}
  {{- include "millrace.annotations" .root | nindent 2 }}
spec:
  clusterIP: None
  selector:
    {{- include "millrace.selector" . | nindent 4 }}
  ports:
    - { name: admin, port: 9090, targetPort: admin, protocol: TCP }
{{- end -}}
