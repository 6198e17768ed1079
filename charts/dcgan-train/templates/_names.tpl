{{/* Names and labels. */}}

{{/* Release and chart. For a RayJob KubeRay requires a letter first and at most 47 characters, 9 of
     them for the hash; from 45 on it cuts the beginning off the names of the cluster's objects. */}}
{{- define "dcgan-train.fullname" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) -}}
{{- end -}}
{{- $name = lower $name | replace "." "-" -}}
{{- if not (regexMatch "^[a-z]" $name) -}}{{- $name = printf "run-%s" $name -}}{{- end -}}
{{- trunc 35 $name | trimSuffix "-" -}}
{{- end -}}

{{/* A hash of all fields that cannot change while a RayJob runs: a changed run gets a new RayJob, an
     unchanged one keeps it. It hashes values, not text: comments in a template do not count. */}}
{{- define "dcgan-train.rayJobName" -}}
{{- $what := list (include "dcgan-train.rayClusterSpec" . | fromYaml) (include "dcgan-train.submission" . | fromYaml) (int .Values.job.generation) -}}
{{- printf "%s-%s" (include "dcgan-train.fullname" .) (toJson $what | sha256sum | trunc 8) -}}
{{- end -}}

{{- define "dcgan-train.configName" -}}
{{- printf "%s-config-%s" (include "dcgan-train.fullname" .) (include "dcgan-train.configData" . | fromYaml | toJson | sha256sum | trunc 8) -}}
{{- end -}}

{{- define "dcgan-train.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "dcgan-train.fullname" .) "" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* Common to the pods of a release, for all versions of the chart. The chart's name is its alias in a
     parent chart, which may have two. KubeRay copies the name into the selector of the RayCluster's
     head Service, but not into that of the RayJob's (NAME-head-svc), which selects no pod: use the
     RayCluster's. */}}
{{- define "dcgan-train.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dcgan-train.labels" -}}
{{ include "dcgan-train.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Metadata of an object but a pod: (dict "root" $ "name" "faces"), and what differs of `namespace`,
     `labels` and `annotations`, which override the common ones. */}}
{{- define "dcgan-train.metadata" -}}
name: {{ .name }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "dcgan-train.labels" .root | nindent 2 }}
  {{- with merge dict (default dict .labels) (default dict .root.Values.commonLabels) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge dict (default dict .annotations) (default dict .root.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Of a monitoring object: in another namespace, its name includes that of the release. */}}
{{- define "dcgan-train.monitoringMetadata" -}}
{{- $name := .name -}}
{{- if and .of.namespace (ne .of.namespace .root.Release.Namespace) -}}
{{- $name = printf "%s-%s" .root.Release.Namespace .name -}}
{{- end -}}
{{- include "dcgan-train.metadata" (merge (dict "name" $name "root" .root) .of) -}}
{{- end -}}

{{/* global.imageRegistry replaces the registry of image.repository, if it has one. */}}
{{- define "dcgan-train.image" -}}
{{- $image := .Values.image -}}
{{- $repository := $image.repository -}}
{{- with dig "imageRegistry" "" (default dict .Values.global) -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default (printf "%s%s" .Chart.AppVersion (ternary "-gpu" "" (eq .Values.profile "gpu")))) -}}
{{- end -}}
{{- end -}}
