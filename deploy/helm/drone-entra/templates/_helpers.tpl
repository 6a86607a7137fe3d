{{- define "drone-entra.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 52 characters, so that the names of the pods and their revisions still fit into a label. */}}
{{- define "drone-entra.fullname" -}}
{{- $name := include "drone-entra.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $name = .Release.Name -}}
{{- else -}}
{{- $name = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "drone-entra.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "drone-entra.fullname" . -}}
{{- else -}}
{{- fail "serviceAccount.name: name the one that exists, as serviceAccount.create is false" -}}
{{- end -}}
{{- end -}}

{{- define "drone-entra.selector" -}}
app.kubernetes.io/name: {{ include "drone-entra.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "drone-entra.labels" -}}
{{ include "drone-entra.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: secret-extension
app.kubernetes.io/part-of: drone
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "drone-entra.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The main file, byte for byte where it is given as text. */}}
{{- define "drone-entra.config" -}}
{{- if kindIs "string" .Values.config -}}
{{- .Values.config -}}
{{- else -}}
{{- toYaml .Values.config -}}
{{- end -}}
{{- end -}}

{{/* Whole seconds of a duration such as 20s or 1m30s. */}}
{{- define "drone-entra.seconds" -}}
{{- $value := toString .value -}}
{{- if not (regexMatch "^([0-9]+m)?([0-9]+s)?$" $value) -}}
{{- fail (printf "config: limits.%s: write %q in minutes and whole seconds, as in 20s or 1m30s" .name $value) -}}
{{- end -}}
{{- $minutes := regexFind "^[0-9]+m" $value | trimSuffix "m" | default "0" | int -}}
{{- $seconds := regexFind "[0-9]+s$" $value | trimSuffix "s" | default "0" | int -}}
{{- add (mul 60 $minutes) $seconds -}}
{{- end -}}

{{/* 80 % of the memory's limit, so that the collector works before the kernel does. */}}
{{- define "drone-entra.memory" -}}
{{- $limit := .Values.resources.limits.memory -}}
{{- $mebi := $limit | trimSuffix "Mi" | trimSuffix "Gi" | int -}}
{{- if hasSuffix "Gi" $limit -}}
{{- $mebi = mul 1024 $mebi -}}
{{- end -}}
{{- printf "%dMiB" (div (mul 4 $mebi) 5) -}}
{{- end -}}
