{{- define "apiext.selector" -}}
app.kubernetes.io/instance: emissary-apiext
app.kubernetes.io/name: emissary-apiext
app.kubernetes.io/part-of: emissary-apiext
{{- end -}}

{{- define "apiext.labels" -}}
{{ include "apiext.selector" . }}
app.kubernetes.io/managed-by: helm
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
emissary-ingress.dev/control-plane-ns: {{ .Values.emissary.namespace }}
{{- end -}}
