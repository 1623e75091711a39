{{/* The pods of the main Deployment and of the canary. Called with root, profile, image, envRaw. */}}

{{- define "nuncio.podMetadata" -}}
{{- $root := .root -}}
labels:
  {{- $labels := merge (dict "profile" .profile) $root.Values.podLabels $root.Values.service.selector (fromYaml (include "nuncio.labels" $root)) }}
  {{- toYaml $labels | nindent 2 }}
{{- with $root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Variables of the chart's own; one that env has too is left to it. */}}
{{- define "nuncio.variables" -}}
AMBASSADOR_HEALTHCHECK_BIND_ADDRESS: 0.0.0.0
AMBASSADOR_DRAIN_TIME: {{ include "nuncio.drainTime" . | quote }}
NUNCIO_SHUTDOWN_DELAY: {{ .Values.shutdownDelaySeconds | quote }}
NUNCIO_STATE_DIR: /var/lib/nuncio
NUNCIO_POD_LABELS_FILE: /tmp/ambassador-pod-info/labels
{{- with .Values.gatewayServices }}
NUNCIO_GATEWAY_SERVICES: {{ . }}
{{- end }}
{{- with .Values.namespace.name }}
AMBASSADOR_NAMESPACE: {{ . | quote }}
{{- end }}
{{- if .Values.scope.singleNamespace }}
AMBASSADOR_SINGLE_NAMESPACE: "YES"
{{- end }}
{{- if .Values.prometheusExporter.enabled }}
STATSD_ENABLED: "true"
STATSD_HOST: localhost
{{- end }}
{{- end -}}

{{- define "nuncio.podSpec" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
terminationGracePeriodSeconds: {{ include "nuncio.gracePeriod" $root }}
{{- with $values.securityContext | default $values.security.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.restartPolicy }}
restartPolicy: {{ . }}
{{- end }}
serviceAccountName: {{ include "nuncio.serviceAccountName" $root }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
dnsPolicy: {{ $values.dnsPolicy }}
hostNetwork: {{ $values.hostNetwork }}
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- with $values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "nuncio.selector" $root | nindent 8 }}
  {{- end }}
  {{- end }}
volumes:
  # What a restart of nuncio needs to find its Envoy again.
  - name: state
    emptyDir: {}
  - name: ambassador-pod-info
    downwardAPI:
      items:
        - path: labels
          fieldRef:
            fieldPath: metadata.labels
  {{- if $values.prometheusExporter.enabled }}
  - name: exporter-config
    configMap:
      name: {{ include "nuncio.fullname" $root }}-exporter-config
  {{- end }}
  {{- with $values.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $values.volumesRaw }}
  {{- tpl . $root | nindent 2 }}
  {{- end }}
{{- with $values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ $values.containerNameOverride | default "emissary-ingress" }}
    image: {{ .image | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args: [init]
    ports:
      {{- range $values.service.ports }}
      - name: {{ .name }}
        containerPort: {{ int (.targetPort | default .port) }}
        protocol: {{ .protocol | default "TCP" }}
        {{- with .hostPort }}
        hostPort: {{ int . }}
        {{- end }}
      {{- end }}
      - name: admin
        containerPort: {{ $values.env.AMBASSADOR_HEALTHCHECK_BIND_PORT | default 8877 | int }}
        protocol: TCP
    env:
      - name: HOST_IP
        valueFrom:
          fieldRef:
            fieldPath: status.hostIP
      - name: NUNCIO_POD_NAME
        valueFrom:
          fieldRef:
            fieldPath: metadata.name
      {{- if not (or $values.namespace.name (hasKey $values.env "AMBASSADOR_NAMESPACE")) }}
      - name: AMBASSADOR_NAMESPACE
        valueFrom:
          fieldRef:
            fieldPath: metadata.namespace
      {{- end }}
      {{- $variables := fromYaml (include "nuncio.variables" $root) }}
      {{- range $name, $value := $values.env }}
      {{- $_ := set $variables (upper $name) (toString $value) }}
      {{- end }}
      {{- range $name, $value := $variables }}
      - name: {{ $name }}
        value: {{ $value | quote }}
      {{- end }}
      {{- with .envRaw }}
      {{- tpl . $root | nindent 6 }}
      {{- end }}
    {{- with $values.security.containerSecurityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- $probes := dict "startupProbe" "check_ready" "readinessProbe" "check_ready" "livenessProbe" "check_alive" }}
    {{- range $probe, $path := $probes }}
    {{- with get $values $probe }}
    {{ $probe }}:
      httpGet:
        path: /ambassador/v0/{{ $path }}
        port: admin
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- end }}
    {{- with $values.lifecycle }}
    lifecycle:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - name: state
        mountPath: /var/lib/nuncio
      - name: ambassador-pod-info
        mountPath: /tmp/ambassador-pod-info
        readOnly: true
      {{- with $values.volumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- with $values.volumeMountsRaw }}
      {{- tpl . $root | nindent 6 }}
      {{- end }}
  {{- if $values.prometheusExporter.enabled }}
  {{- $exporter := $values.prometheusExporter }}
  - name: prometheus-exporter
    image: "{{ $exporter.repository }}:{{ $exporter.tag }}"
    imagePullPolicy: {{ $exporter.pullPolicy }}
    args:
      - --statsd.listen-udp=:8125
      - --web.listen-address=:9102
      - --statsd.mapping-config=/statsd-exporter/mapping-config.yaml
    ports:
      - name: metrics
        containerPort: 9102
      - name: listener
        containerPort: 8125
        protocol: UDP
    {{- with $exporter.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - name: exporter-config
        mountPath: /statsd-exporter
        readOnly: true
  {{- end }}
  {{- with $values.sidecarContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
