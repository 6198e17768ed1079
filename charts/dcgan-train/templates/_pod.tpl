{{/* Parts of pods. Those that differ by pod take (dict "root" $ "component" "head" "of" .Values.head). */}}

{{- define "dcgan-train.podMetadata" -}}
{{- $values := .root.Values -}}
labels:
  {{- include "dcgan-train.selectorLabels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
  {{- with mergeOverwrite (deepCopy $values.podLabels) (default dict .of.labels) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with mergeOverwrite (deepCopy $values.podAnnotations) (default dict .of.annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Common to all pods: user, security context, scheduling. */}}
{{- define "dcgan-train.podBasics" -}}
{{- $values := .root.Values -}}
{{- with include "dcgan-train.serviceAccountName" .root }}
serviceAccountName: {{ . }}
{{- end }}
automountServiceAccountToken: {{ and (eq .component "head") (eq (include "dcgan-train.isAutoscaled" .root) "true") }}
# Ray would read the variables of a service of the namespace that is named "ray".
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- range $name, $value := $values.podSecurityContext }}
  {{- $isId := has $name (list "runAsUser" "runAsGroup" "fsGroup" "fsGroupChangePolicy") }}
  {{- if not (or (kindIs "invalid" $value) (and $values.openshift $isId)) }}
  {{ $name }}: {{ toJson $value }}
  {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := .of.tolerations -}}
{{- if and (eq .component "worker") (eq $values.profile "gpu") -}}
{{- range list "nvidia.com/gpu" .of.gpuResource | uniq | compact -}}
{{- $tolerations = append $tolerations (dict "key" . "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- include "dcgan-train.withoutEmptyFields" . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.topologySpreadConstraints }}
{{- $selector := dict "matchLabels" (include "dcgan-train.selectorLabels" $.root | fromYaml) }}
{{- $_ := set $selector.matchLabels "app.kubernetes.io/component" $.component }}
topologySpreadConstraints:
  {{- range . }}
  - {{ ternary . (set (deepCopy .) "labelSelector" $selector) (hasKey . "labelSelector") | toYaml | indent 4 | trim }}
  {{- end }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .of.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .of.resourceClaims }}
resourceClaims:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $field := list "schedulerName" "dnsConfig" "hostAliases" }}
{{- with get $values $field }}
{{ dict $field . | toYaml }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "dcgan-train.container" -}}
image: {{ include "dcgan-train.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "dcgan-train.containerSecurityContext" . | nindent 2 }}
{{- end -}}

{{- define "dcgan-train.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Quantities in the form that Kubernetes returns (500m for 0.5, 2Gi for 2048Mi). Argo CD and Flux
     would report another form as drift. */}}
{{- define "dcgan-train.cpuQuantity" -}}
{{- $thousandths := ceil (mulf (float64 .) 1000) | int -}}
{{- if mod $thousandths 1000 -}}{{ printf "%dm" $thousandths }}{{- else -}}{{ div $thousandths 1000 }}{{- end -}}
{{- end -}}

{{- define "dcgan-train.memoryQuantity" -}}
{{- $units := list "Mi" "Gi" "Ti" "Pi" "Ei" -}}
{{- $unit := regexFind "[A-Z]i$" . -}}
{{- $number := int64 (trimSuffix $unit .) -}}
{{- if and (eq (mod $number 1024) 0) (ne $unit "Ei") -}}
{{- range $index, $each := $units -}}
{{- if eq $each $unit -}}{{ include "dcgan-train.memoryQuantity" (printf "%d%s" (div $number 1024) (index $units (add1 $index | int))) }}{{- end -}}
{{- end -}}
{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* Drop empty fields (value: "", readOnly: false) from a list of entries, as Kubernetes does. The
     number 0 is not empty: tolerationSeconds: 0 evicts at once. */}}
{{- define "dcgan-train.withoutEmptyFields" -}}
{{- $entries := list -}}
{{- range . -}}
{{- $entry := dict -}}
{{- range $name, $value := . -}}{{- if or $value (regexMatch "^(int|float)" (kindOf $value)) -}}{{- $_ := set $entry $name $value -}}{{- end -}}{{- end -}}
{{- $entries = append $entries $entry -}}
{{- end -}}
{{- toYaml $entries -}}
{{- end -}}

{{/* Requests equal limits: a worker that is throttled, or evicted for using the most, delays all
     others. Disk covers the volumes on the node's disk (home has 1 GiB), and 1 GiB for the log. */}}
{{- define "dcgan-train.resources" -}}
{{- $disk := include "dcgan-train.memoryQuantity" (printf "%dGi" (int .diskGiB)) -}}
{{- $both := dict "cpu" (include "dcgan-train.cpuQuantity" .cpus) "memory" (include "dcgan-train.memoryQuantity" .memory) "ephemeral-storage" $disk -}}
{{- if and .gpus .gpuResource }}{{- $_ := set $both .gpuResource (toString .gpus) }}{{- end -}}
requests: {{- toYaml $both | nindent 2 }}
limits: {{- toYaml $both | nindent 2 }}
{{- with .claims }}
claims:
  {{- range . }}
  - name: {{ .name }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Credentials and the user's own variables. */}}
{{- define "dcgan-train.env" -}}
{{- with .Values.credentials.existingSecret }}
# Keys as files: variables would not change with the Secret.
- name: AWS_CONFIG_FILE
  value: /etc/dcgan-train/aws-config
- name: AWS_REGION
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: AWS_REGION
      optional: true
{{- end }}
{{- with .Values.extraEnv }}
{{ include "dcgan-train.withoutEmptyFields" . }}
{{- end }}
{{- end -}}

{{/* Variables of a Ray node. The head needs no drain: its preStop hook stops the run. */}}
{{- define "dcgan-train.rayEnv" -}}
{{- if eq .root.Values.auth.mode "disabled" }}
- name: RAY_AUTH_MODE
  value: disabled
{{- end }}
- name: RAY_USAGE_STATS_ENABLED
  value: "0"
- name: RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S
  value: {{ ternary 0 (int .root.Values.termination.drainSeconds) (eq .component "head") | quote }}
{{- if eq .component "head" }}
# By default Ray kills a job 3 s after the stop request.
- name: RAY_JOB_STOP_WAIT_TIME_S
  value: {{ include "dcgan-train.stopSeconds" .root | quote }}
{{- end }}
{{- with include "dcgan-train.env" .root | trim }}
{{ . }}
{{- end }}
{{- end -}}

{{/* The run, and the writable folders of a container with a read-only root file system. */}}
{{- define "dcgan-train.mounts" -}}
- name: config
  mountPath: /etc/dcgan-train
  readOnly: true
- name: tmp
  mountPath: /tmp
- name: home
  mountPath: /home/dcgan
{{- with .Values.extraVolumeMounts }}
{{ include "dcgan-train.withoutEmptyFields" . }}
{{- end }}
{{- end -}}

{{- define "dcgan-train.keysMount" -}}
{{- if .Values.credentials.existingSecret }}
- name: keys
  mountPath: /etc/dcgan-train-keys
  readOnly: true
{{- end }}
{{- end -}}

{{- define "dcgan-train.keysVolume" -}}
{{- with .Values.credentials.existingSecret }}
- name: keys
  projected:
    sources:
      - secret:
          name: {{ . }}
          items:
            - {key: AWS_ACCESS_KEY_ID, path: AWS_ACCESS_KEY_ID}
            - {key: AWS_SECRET_ACCESS_KEY, path: AWS_SECRET_ACCESS_KEY}
      - secret:
          name: {{ . }}
          items:
            - {key: AWS_SESSION_TOKEN, path: AWS_SESSION_TOKEN}
          optional: true
{{- end }}
{{- end -}}

{{- define "dcgan-train.volumes" -}}
- name: config
  configMap:
    name: {{ include "dcgan-train.configName" .root }}
- name: tmp
  emptyDir:
    sizeLimit: {{ include "dcgan-train.memoryQuantity" (printf "%dGi" (int .diskGiB)) }}
- name: home
  emptyDir:
    sizeLimit: 1Gi
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dcgan-train.shmVolume" -}}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ include "dcgan-train.memoryQuantity" (printf "%dGi" (int .)) }}
{{- end -}}

{{/* Ray's agent answers for the raylet of its node. The head is ready when its dashboard reports the
     cluster's state: then a job can be submitted. Set here because KubeRay before 1.7 needs wget. */}}
{{- define "dcgan-train.probes" -}}
startupProbe:
  httpGet: {path: /api/healthz, port: 52365}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 60
readinessProbe:
  httpGet: {{ ternary "{path: /api/gcs_healthz, port: 8265}" "{path: /api/healthz, port: 52365}" (eq .component "head") }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 10
# Five minutes: a busy agent is not dead, and a restart costs the whole group an attempt.
livenessProbe:
  httpGet: {path: /api/healthz, port: 52365}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 30
{{- end -}}

{{/* Init container and test: doctor. The address means that the cluster is started later. */}}
{{- define "dcgan-train.preflight" -}}
command: [dcgan-train, doctor, --config, /etc/dcgan-train/run.yaml]
env:
  - name: RAY_ADDRESS
    value: {{ .Release.Name }}.invalid:6379
  {{- with include "dcgan-train.env" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}{{ dict "envFrom" . | toYaml | nindent 0 }}{{ end }}
resources:
  {{- include "dcgan-train.resources" (dict "cpus" .Values.preflight.cpus "memory" .Values.preflight.memory "diskGiB" 2) | nindent 2 }}
volumeMounts:
  {{- include "dcgan-train.mounts" . | nindent 2 }}
  {{- include "dcgan-train.keysMount" . | nindent 2 }}
{{- end -}}
