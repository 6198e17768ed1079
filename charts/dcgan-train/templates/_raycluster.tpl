{{/* The cluster of the RayJob. It cannot change while the RayJob runs, so the hash includes all of it. */}}

{{- define "dcgan-train.rayClusterSpec" -}}
rayVersion: {{ .Values.rayVersion | quote }}
authOptions:
  mode: {{ .Values.auth.mode }}
  {{- with .Values.auth.existingSecret }}
  secretName: {{ . }}
  {{- end }}
{{- if include "dcgan-train.isAutoscaled" . }}
enableInTreeAutoscaling: true
autoscalerOptions:
  version: v2
  # A worker that waits while Ray restarts the others is not idle.
  idleTimeoutSeconds: 300
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  resources:
    {{- include "dcgan-train.resources" (dict "cpus" 0.5 "memory" "1Gi" "diskGiB" 1) | nindent 4 }}
  securityContext:
    {{- include "dcgan-train.containerSecurityContext" . | nindent 4 }}
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    - name: home
      mountPath: /home/dcgan
{{- end }}
headGroupSpec:
  {{- include "dcgan-train.headGroup" . | nindent 2 }}
workerGroupSpecs:
  - {{ include "dcgan-train.workerGroup" . | indent 4 | trim }}
{{- end -}}

{{- define "dcgan-train.headGroup" -}}
{{- $head := .Values.head -}}
{{- $pod := dict "root" . "component" "head" "of" $head "diskGiB" $head.scratchGiB -}}
rayStartParams:
  # Only workers train. The object store carries only messages, never images or weights.
  num-cpus: "0"
  num-gpus: "0"
  object-store-memory: "134217728"
template:
  metadata:
    {{- include "dcgan-train.podMetadata" $pod | nindent 4 }}
  spec:
    {{- include "dcgan-train.podBasics" $pod | trim | nindent 4 }}
    terminationGracePeriodSeconds: {{ include "dcgan-train.gracePeriodSeconds" . }}
    {{- if or .Values.preflight.initContainer .Values.extraInitContainers }}
    initContainers:
      {{- with .Values.extraInitContainers }}{{ toYaml . | nindent 6 }}{{ end }}
      {{- if .Values.preflight.initContainer }}
      - name: preflight
        {{- include "dcgan-train.container" . | nindent 8 }}
        {{- include "dcgan-train.preflight" . | nindent 8 }}
      {{- end }}
    {{- end }}
    containers:
      - name: ray-head
        {{- include "dcgan-train.container" . | nindent 8 }}
        ports:
          - {name: gcs-server, containerPort: 6379}
          - {name: dashboard, containerPort: 8265}
        env:
          {{- include "dcgan-train.rayEnv" $pod | trim | nindent 10 }}
        {{- with .Values.extraEnvFrom }}{{ dict "envFrom" . | toYaml | nindent 8 }}{{ end }}
        resources:
          {{- include "dcgan-train.resources" (dict "cpus" $head.cpus "memory" $head.memory "diskGiB" (add (int $head.scratchGiB) 2)) | nindent 10 }}
        {{- include "dcgan-train.probes" $pod | nindent 8 }}
        lifecycle:
          preStop:
            exec:
              command: [python, /etc/dcgan-train/stop.py, {{ include "dcgan-train.stopSeconds" . | quote }}]
        volumeMounts:
          {{- include "dcgan-train.mounts" . | nindent 10 }}
          - name: shm
            mountPath: /dev/shm
          {{- include "dcgan-train.keysMount" . | nindent 10 }}
      {{- with .Values.extraContainers }}{{ toYaml . | nindent 6 }}{{ end }}
    volumes:
      {{- include "dcgan-train.volumes" $pod | nindent 6 }}
      {{- include "dcgan-train.shmVolume" 1 | nindent 6 }}
      {{- include "dcgan-train.keysVolume" . | nindent 6 }}
{{- end -}}

{{- define "dcgan-train.workerGroup" -}}
{{- $workers := .Values.workers -}}
{{- $cache := .Values.cache -}}
{{- $pod := dict "root" . "component" "worker" "of" $workers "diskGiB" $workers.scratchGiB -}}
{{- $isAutoscaled := include "dcgan-train.isAutoscaled" . -}}
{{- $cacheOnDisk := ternary (int $cache.sizeGiB) 0 (eq $cache.kind "emptyDir") -}}
groupName: workers
replicas: {{ int $workers.count }}
minReplicas: {{ ternary (int (default $workers.count $workers.min)) (int $workers.count) (eq $isAutoscaled "true") }}
maxReplicas: {{ ternary (int (default $workers.count $workers.max)) (int $workers.count) (eq $isAutoscaled "true") }}
rayStartParams:
  # Ray recognizes only nvidia.com/gpu. For other names of workers.gpuResource this key gives the
  # number of GPUs, also to the autoscaler.
  num-gpus: {{ include "dcgan-train.gpus" . | quote }}
  object-store-memory: "134217728"
template:
  metadata:
    {{- include "dcgan-train.podMetadata" $pod | nindent 4 }}
  spec:
    {{- include "dcgan-train.podBasics" $pod | trim | nindent 4 }}
    terminationGracePeriodSeconds: {{ include "dcgan-train.gracePeriodSeconds" . }}
    {{- with .Values.extraInitContainers }}{{ dict "initContainers" . | toYaml | nindent 4 }}{{ end }}
    containers:
      - name: ray-worker
        {{- include "dcgan-train.container" . | nindent 8 }}
        ports:
          - {name: metrics, containerPort: 9090}
          - {name: ray-metrics, containerPort: 8080}
        env:
          {{- include "dcgan-train.rayEnv" $pod | trim | nindent 10 }}
        {{- with .Values.extraEnvFrom }}{{ dict "envFrom" . | toYaml | nindent 8 }}{{ end }}
        resources:
          {{- $disk := add (int $workers.scratchGiB) $cacheOnDisk 2 }}
          {{- $gpus := int (include "dcgan-train.gpus" .) }}
          {{- include "dcgan-train.resources" (dict "cpus" $workers.cpus "memory" $workers.memory "diskGiB" $disk "gpus" $gpus "gpuResource" $workers.gpuResource "claims" $workers.resourceClaims) | nindent 10 }}
        {{- include "dcgan-train.probes" $pod | nindent 8 }}
        volumeMounts:
          {{- include "dcgan-train.mounts" . | nindent 10 }}
          - name: shm
            mountPath: /dev/shm
          - name: cache
            mountPath: /cache
          {{- include "dcgan-train.keysMount" . | nindent 10 }}
      {{- with .Values.extraContainers }}{{ toYaml . | nindent 6 }}{{ end }}
    volumes:
      {{- include "dcgan-train.volumes" $pod | nindent 6 }}
      {{- include "dcgan-train.shmVolume" $workers.shmGiB | nindent 6 }}
      - name: cache
        {{- if eq $cache.kind "emptyDir" }}
        emptyDir:
          sizeLimit: {{ include "dcgan-train.memoryQuantity" (printf "%dGi" (int $cache.sizeGiB)) }}
        {{- else if eq $cache.kind "hostPath" }}
        hostPath:
          path: {{ $cache.hostPath }}
          type: Directory
        {{- else }}
        ephemeral:
          volumeClaimTemplate:
            spec:
              accessModes: [ReadWriteOnce]
              {{- with $cache.storageClassName }}
              storageClassName: {{ . }}
              {{- end }}
              resources:
                requests:
                  storage: {{ include "dcgan-train.memoryQuantity" (printf "%dGi" (int $cache.sizeGiB)) }}
        {{- end }}
      {{- include "dcgan-train.keysVolume" . | nindent 6 }}
{{- end -}}

{{/* How the job is submitted. It cannot change while the RayJob runs either. */}}
{{- define "dcgan-train.submission" -}}
entrypoint: dcgan-train train --config /etc/dcgan-train/run.yaml
submissionMode: {{ .Values.job.submissionMode }}
{{- with .Values.job.managedBy }}
managedBy: {{ . }}
{{- end }}
{{- with .Values.job.metadata }}
metadata:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .Values.job.submissionMode "K8sJobMode" }}
{{- $submitter := .Values.submitter }}
{{- $pod := dict "root" . "component" "submitter" "of" $submitter "diskGiB" 1 }}
submitterConfig:
  backoffLimit: {{ ternary 3 .Values.job.submitterBackoffLimit (kindIs "invalid" .Values.job.submitterBackoffLimit) | int }}
submitterPodTemplate:
  metadata:
    {{- include "dcgan-train.podMetadata" $pod | nindent 4 }}
  spec:
    {{- include "dcgan-train.podBasics" $pod | trim | nindent 4 }}
    restartPolicy: Never
    containers:
      - name: ray-job-submitter
        {{- include "dcgan-train.container" . | nindent 8 }}
        resources:
          {{- include "dcgan-train.resources" (dict "cpus" $submitter.cpus "memory" $submitter.memory "diskGiB" 2) | nindent 10 }}
        volumeMounts:
          - name: tmp
            mountPath: /tmp
          - name: home
            mountPath: /home/dcgan
    volumes:
      - name: tmp
        emptyDir:
          sizeLimit: 1Gi
      - name: home
        emptyDir:
          sizeLimit: 1Gi
{{- end }}
{{- end -}}
