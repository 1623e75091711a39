{{/* Names and labels are those of Emissary's chart, so that an upgrade finds what it installed: the
selector of a Deployment cannot be changed. */}}

{{- define "nuncio.name" -}}
{{- if or (contains "emissary" .Release.Name) (contains "ambassador" .Release.Name) -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- .Values.nameOverride | default "emissary-ingress" | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "nuncio.fullname" -}}
{{- $name := .Values.nameOverride | default "emissary-ingress" -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- range list $name "ambassador" "emissary" -}}
{{- if contains . $.Release.Name -}}
{{- $full = $.Release.Name -}}
{{- end -}}
{{- end -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "nuncio.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "nuncio.deploymentName" -}}
{{- .Values.deploymentNameOverride | default (include "nuncio.fullname" .) -}}
{{- end -}}

{{- define "nuncio.serviceName" -}}
{{- .Values.service.nameOverride | default (include "nuncio.fullname" .) -}}
{{- end -}}

{{- define "nuncio.serviceAccountName" -}}
{{- $own := ternary (include "nuncio.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $own -}}
{{- end -}}

{{- define "nuncio.rbacName" -}}
{{- .Values.rbac.nameOverride | default (include "nuncio.fullname" .) -}}
{{- end -}}

{{/* Says what to do where an object that is in no namespace is another release's. helm's own words are of
labels. */}}
{{- define "nuncio.own" -}}
{{- $found := lookup .apiVersion .kind "" .name -}}
{{- $annotations := dig "metadata" "annotations" dict $found -}}
{{- $release := get $annotations "meta.helm.sh/release-name" -}}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" -}}
{{- if and $release (or (ne $release .release.Name) (ne $namespace .release.Namespace)) -}}
{{- fail (printf "\n\n%s %q belongs to the release %s in namespace %s: %s" .kind .name $release $namespace .instead) -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "nuncio.labels" -}}
{{- $tool := .Values.deploymentTool | default .Release.Service -}}
app.kubernetes.io/name: {{ include "nuncio.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ $tool }}
{{- if eq $tool "Helm" }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}
product: aes
{{- end -}}

{{/* What finds the pods, of the main Deployment and of the canary. */}}
{{- define "nuncio.selector" -}}
{{- with .Values.service.selector -}}
{{- toYaml . -}}
{{- else -}}
app.kubernetes.io/name: {{ include "nuncio.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- end -}}

{{/* A resource is nuncio's own where its ambassador_id says so. */}}
{{- define "nuncio.ambassadorId" -}}
{{- with .Values.env.AMBASSADOR_ID -}}
ambassador_id: [{{ . | quote }}]
{{- end -}}
{{- end -}}

{{- define "nuncio.image" -}}
{{- $image := .Values.image -}}
{{- $tag := $image.tag | default .Chart.AppVersion -}}
{{- $own := printf "%s:%s" ($image.repository | default .Values.defaultImageRepository) $tag -}}
{{- $image.fullImageOverride | default $own -}}
{{- end -}}

{{- define "nuncio.canaryImage" -}}
{{- $image := .Values.canary.image -}}
{{- if and $image.repository $image.tag -}}
{{- printf "%s:%s" $image.repository $image.tag -}}
{{- else -}}
{{- include "nuncio.image" . -}}
{{- end -}}
{{- end -}}

{{/* Seconds in which nothing but what Kubernetes itself needs happens at the end of a pod. */}}
{{- define "nuncio.graceBeyondDrain" -}}
{{- add (int .Values.shutdownDelaySeconds) 10 -}}
{{- end -}}

{{/* As long as env says; else as long as the grace period leaves; else Emissary's ten minutes. */}}
{{- define "nuncio.drainTime" -}}
{{- $beyond := int (include "nuncio.graceBeyondDrain" .) -}}
{{- if .Values.env.AMBASSADOR_DRAIN_TIME -}}
{{- int .Values.env.AMBASSADOR_DRAIN_TIME -}}
{{- else if .Values.terminationGracePeriodSeconds -}}
{{- max 1 (sub (int .Values.terminationGracePeriodSeconds) $beyond) -}}
{{- else -}}
600
{{- end -}}
{{- end -}}

{{- define "nuncio.gracePeriod" -}}
{{- $beyond := int (include "nuncio.graceBeyondDrain" .) -}}
{{- .Values.terminationGracePeriodSeconds | default (add (int (include "nuncio.drainTime" .)) $beyond) -}}
{{- end -}}

{{/* What the Services of the main Deployment and of the canary share. */}}
{{- define "nuncio.serviceSpec" -}}
{{- $service := .Values.service -}}
type: {{ $service.type }}
{{- range $key := list "loadBalancerIP" "loadBalancerClass" "externalTrafficPolicy" "sessionAffinity" "sessionAffinityConfig" "loadBalancerSourceRanges" "externalIPs" "ipFamilies" }}
{{- with get $service $key }}
{{ toYaml (dict $key .) }}
{{- end }}
{{- end }}
ports:
  {{- range $service.ports }}
  - name: {{ .name }}
    port: {{ int .port }}
    {{- with .targetPort }}
    targetPort: {{ int . }}
    {{- end }}
    {{- with .nodePort }}
    nodePort: {{ int . }}
    {{- end }}
    protocol: {{ .protocol | default "TCP" }}
  {{- end }}
{{- end -}}
