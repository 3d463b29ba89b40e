{{/* One pod for all four services. Takes root, component (also the command), values. */}}
{{- define "millrace.podTemplate" -}}
{{- $root := .root -}}
{{- $defaults := $root.Values.defaults -}}
metadata:
  labels:
    {{- include "millrace.labels" (dict "root" $root "component" .component) | nindent 4 }}
    {{- with $defaults.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "millrace.config" $root | sha256sum }}
    {{- with $defaults.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "millrace.serviceAccountName" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $root.Values.shutdown.drainSeconds $root.Values.shutdown.timeoutSeconds 10 }}
  {{- with $defaults.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $defaults.podSecurityContext | nindent 4 }}
  {{- with $defaults.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $defaults.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $defaults.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "millrace.selector" (dict "root" $root "component" .component) | nindent 10 }}
  containers:
    - name: {{ .component }}
      image: {{ include "millrace.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ .component }}, --config, /etc/millrace/millrace.toml]
      securityContext:
        {{- toYaml $defaults.securityContext | nindent 8 }}
      env:
        - name: MILLRACE_INSTANCE
          {{- if .stable }}
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
          {{- else }}
          value: ""
          {{- end }}
        - name: POD_NAME
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        - name: POD_UID
          valueFrom: { fieldRef: { fieldPath: metadata.uid } }
        - name: NODE_NAME
          valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
        - name: OTEL_RESOURCE_ATTRIBUTES
          value: service.instance.id=$(POD_UID),k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME),k8s.namespace.name={{ $root.Release.Namespace }}
        {{- with $defaults.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- with .port }}
        - { name: http, containerPort: {{ . }}, protocol: TCP }
        {{- end }}
        - { name: admin, containerPort: 9090, protocol: TCP }
      startupProbe:
        httpGet: { path: /startupz, port: admin }
        periodSeconds: 2
        failureThreshold: 30
      readinessProbe:
        httpGet: { path: /readyz, port: admin }
        periodSeconds: 5
        timeoutSeconds: 2
        failureThreshold: 2
      livenessProbe:
        httpGet: { path: /livez, port: admin }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 6
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      volumeMounts:
        - { name: config, mountPath: /etc/millrace/millrace.toml, subPath: millrace.toml, readOnly: true }
        - { name: catalog, mountPath: /etc/millrace/catalog, readOnly: true }
        {{- include "millrace.secretMounts" . | nindent 8 }}
  volumes:
    - name: config
      configMap: { name: {{ include "millrace.fullname" $root }}-config }
    - name: catalog
      configMap:
        name: {{ include "millrace.catalogConfigMap" $root }}
        {{- if $root.Values.catalog.files }}
        items:
          {{- range $name, $_ := $root.Values.catalog.files }}
          - { key: {{ $name | quote }}, path: {{ $name | replace "--" "/" | quote }} }
          {{- end }}
        {{- end }}
    {{- include "millrace.secretVolumes" . | nindent 4 }}
{{- end -}}

{{/* The secrets a component needs: pairs of a volume's name and its Secret. */}}
{{- define "millrace.secretList" -}}
{{- $values := .root.Values -}}
{{- $list := list -}}
{{- if and $values.kafka.tls.enabled $values.kafka.tls.caSecret.name -}}
{{- $list = append $list (dict "volume" "kafka-ca" "secret" $values.kafka.tls.caSecret.name) -}}
{{- end -}}
{{- if and $values.kafka.tls.enabled $values.kafka.tls.clientCertSecret.name -}}
{{- $list = append $list (dict "volume" "kafka-client" "secret" $values.kafka.tls.clientCertSecret.name) -}}
{{- end -}}
{{- if $values.kafka.sasl.mechanism -}}
{{- $list = append $list (dict "volume" "kafka-sasl" "secret" $values.kafka.sasl.passwordSecret.name) -}}
{{- end -}}
{{- if $values.schemaRegistry.auth.username -}}
{{- $list = append $list (dict "volume" "registry" "secret" (required "schemaRegistry.auth.passwordSecret.name is required with a username" $values.schemaRegistry.auth.passwordSecret.name)) -}}
{{- end -}}
{{- $list = append $list (dict "volume" "dlq-token" "secret" $values.dlqReplayer.tokenSecret.name) -}}
{{- range $values.catalog.secrets -}}
{{- $list = append $list (dict "volume" (printf "catalog-%s" .) "secret" . "path" (printf "/run/secrets/millrace/%s" .)) -}}
{{- end -}}
{{- dict "list" $list | toJson -}}
{{- end -}}

{{- define "millrace.secretMounts" -}}
{{- range (include "millrace.secretList" . | fromJson).list }}
- { name: {{ .volume }}, mountPath: {{ .path | default (printf "/run/secrets/%s" .volume) }}, readOnly: true }
{{- end }}
{{- end -}}

{{- define "millrace.secretVolumes" -}}
{{- range (include "millrace.secretList" . | fromJson).list }}
- name: {{ .volume }}
  secret: { secretName: {{ .secret }}, defaultMode: 0440 }
{{- end }}
{{- end -}}
