{{/* Names. Everything of a release begins with its full name: the release's, and the chart's if that is not in it. */}}
{{- define "cli-server.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "cli-server.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Cluster-wide objects have the namespace in their names, because two releases may have the same name. */}}
{{- define "cli-server.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "cli-server.fullname" .) -}}
{{- end -}}

{{- define "cli-server.postgresqlName" -}}
{{- include "cli-server.fullname" . }}-postgresql
{{- end -}}

{{- define "cli-server.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cli-server.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "cli-server.namespacePrefix" -}}
{{- default (include "cli-server.fullname" .) .Values.sandbox.namespace -}}
{{- end -}}

{{- define "cli-server.labels" -}}
{{ include "cli-server.anyLabels" . }}
app.kubernetes.io/component: server
{{- end -}}

{{/* Of what is not the server's own: the database, the policies. */}}
{{- define "cli-server.anyLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "cli-server.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "cli-server.selector" -}}
app.kubernetes.io/name: {{ include "cli-server.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "cli-server.postgresqlSelector" -}}
app.kubernetes.io/name: {{ include "cli-server.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: postgresql
{{- end -}}

{{/* What an image is called. A tag with a digest behind it ("16@sha256:…") is one word, as registries have it. */}}
{{- define "cli-server.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion (toString .Values.image.tag)) -}}
{{- end -}}

{{- define "cli-server.ingressHost" -}}
{{- default .Values.baseDomain .Values.ingress.host -}}
{{- end -}}

{{/* A probe of the server's. The host is the pod's address, by which the main site is reached whatever its domain. */}}
{{- define "cli-server.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
{{ toYaml .times }}
{{- end -}}
