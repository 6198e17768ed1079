{{/* Reject combinations that values.schema.json could not explain to a user, or that KubeRay would
     reject only in the cluster. */}}

{{- define "dcgan-train.refuse" -}}
{{- $values := .Values -}}
{{- $workers := $values.workers -}}
{{- $job := $values.job -}}
{{- $count := int $workers.count -}}
{{- $min := int (default $count $workers.min) -}}
{{- $max := int (default $count $workers.max) -}}
{{- $gpus := int (include "dcgan-train.gpus" .) -}}
{{- $isAutoscaled := include "dcgan-train.isAutoscaled" . -}}

{{- if eq (toString $values.enabled) "false" -}}
  {{- fail "enabled is false, but the chart is rendered; expected `condition: dcgan-train.enabled` at the dependency in the parent's Chart.yaml, or enabled: true" -}}
{{- end -}}

{{- if or (gt $min $count) (lt $max $count) -}}
  {{- fail (printf "workers.min is %d, workers.count %d, workers.max %d; expected them in this order" $min $count $max) -}}
{{- end -}}
{{- if and (gt $max $count) (not $workers.autoscaler) -}}
  {{- fail (printf "workers.max is %d and workers.count %d with workers.autoscaler: false; expected workers.autoscaler: true, without which the pods stay workers.count, or no workers.max" $max $count) -}}
{{- end -}}
{{- include "dcgan-train.refuseRun" . -}}
{{- $unit := regexFind "[MGT]i$" $workers.memory -}}
{{- $memoryMiB := mul (int (trimSuffix $unit $workers.memory)) (get (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) $unit) -}}
{{- if ge (mul (int $workers.shmGiB) 1024) $memoryMiB -}}
  {{- fail (printf "workers.shmGiB is %d and workers.memory %s; expected less, because /dev/shm counts as part of the memory" (int $workers.shmGiB) $workers.memory) -}}
{{- end -}}
{{- if and (eq $values.profile "gpu") (eq $gpus 0) -}}
  {{- fail "workers.gpus is 0 with profile: gpu; expected 1 or more, or profile: cpu" -}}
{{- end -}}
{{- if and (gt $gpus 0) (not (or $workers.gpuResource $workers.resourceClaims)) -}}
  {{- fail (printf "workers.gpuResource is empty, workers.gpus %d, and workers.resourceClaims is not set; expected the name of a resource, or claims that provide the GPUs" $gpus) -}}
{{- end -}}
{{- if and (eq $values.profile "cpu") (gt $gpus 0) -}}
  {{- fail (printf "workers.gpus is %d with profile: cpu; expected profile: gpu, whose image has CUDA" $gpus) -}}
{{- end -}}

{{- if and $job.suspend (ne $values.cleanup.policy "shutdown") -}}
  {{- fail (printf "job.suspend is true with cleanup.policy: %s; expected cleanup.policy: shutdown, without which KubeRay suspends nothing" $values.cleanup.policy) -}}
{{- end -}}
{{- if and $job.queue (ne $values.cleanup.policy "shutdown") -}}
  {{- fail (printf "job.queue is %s with cleanup.policy: %s; expected cleanup.policy: shutdown, because Kueue suspends what waits" $job.queue $values.cleanup.policy) -}}
{{- end -}}
{{- $isElasticForKueue := eq (get (default dict $job.annotations) "kueue.x-k8s.io/elastic-job") "true" -}}
{{- if and $job.queue $isAutoscaled (not $isElasticForKueue) -}}
  {{- fail (printf "job.queue is %s with workers.autoscaler: true; expected workers.autoscaler: false, because Kueue admits a fixed number of pods, or kueue.x-k8s.io/elastic-job: \"true\" in job.annotations, if Kueue has ElasticJobsViaWorkloadSlices" $job.queue) -}}
{{- end -}}
{{- if and (eq (default "" $job.managedBy) "kueue.x-k8s.io/multikueue") (not $job.queue) -}}
  {{- fail "job.managedBy is kueue.x-k8s.io/multikueue without job.queue; expected the local queue of MultiKueue, without which nothing starts the run" -}}
{{- end -}}
{{- if and (ne $job.submissionMode "K8sJobMode") (not (kindIs "invalid" $job.submitterBackoffLimit)) -}}
  {{- fail (printf "job.submitterBackoffLimit is set with job.submissionMode: %s; expected none, because only K8sJobMode has a submitter pod" $job.submissionMode) -}}
{{- end -}}
{{- if and $job.activeDeadlineSeconds (eq $values.cleanup.policy "none") -}}
  {{- fail (printf "job.activeDeadlineSeconds is %d with cleanup.policy: none; expected cleanup.policy: rules or shutdown, without which KubeRay calls the run failed and lets it train on" (int $job.activeDeadlineSeconds)) -}}
{{- end -}}
{{- if and $job.activeDeadlineSeconds $job.preRunningDeadlineSeconds -}}
  {{- if le (int $job.activeDeadlineSeconds) (int $job.preRunningDeadlineSeconds) -}}
    {{- fail (printf "job.activeDeadlineSeconds is %d and job.preRunningDeadlineSeconds %d; expected more for the whole than for its beginning" (int $job.activeDeadlineSeconds) (int $job.preRunningDeadlineSeconds)) -}}
  {{- end -}}
{{- end -}}

{{- $needed := int (include "dcgan-train.neededGraceSeconds" .) -}}
{{- if lt (int (include "dcgan-train.gracePeriodSeconds" .)) $needed -}}
  {{- fail (printf "termination.gracePeriodSeconds is %d; expected at least %d, for termination.drainSeconds and for run.checkpoints.grace_seconds and 10 more" (int $values.termination.gracePeriodSeconds) $needed) -}}
{{- end -}}

{{- $grace := int (include "dcgan-train.graceSeconds" .) -}}
{{- $drain := int $values.termination.drainSeconds -}}
{{- $hasGrace := not (kindIs "invalid" (dig "checkpoints" "grace_seconds" nil $values.run)) -}}
{{- if and (gt $drain 0) (lt $drain $grace) -}}
  {{- $why := ternary "" (printf " (by monitoring.podMonitor.interval, which is %s)" $values.monitoring.podMonitor.interval) (or $hasGrace (eq $grace 25)) -}}
  {{- fail (printf "termination.drainSeconds is %d and run.checkpoints.grace_seconds %d%s; expected at least as much drain, at whose end Ray ends the processes that save, or termination.drainSeconds: 0" $drain $grace $why) -}}
{{- end -}}
{{- if and $values.monitoring.podMonitor.enabled (gt (add (int (include "dcgan-train.scrapeSeconds" .)) 5) $grace) -}}
  {{- fail (printf "monitoring.podMonitor.interval is %s and run.checkpoints.grace_seconds %d; expected a grace of 5 seconds more than the interval or longer, or a run that is stopped looks like one that is lost" $values.monitoring.podMonitor.interval $grace) -}}
{{- end -}}

{{- with $values.monitoring.podMonitor -}}
  {{- if and .scrapeTimeout (gt (int (include "dcgan-train.seconds" .scrapeTimeout)) (int (include "dcgan-train.seconds" .interval))) -}}
    {{- fail (printf "monitoring.podMonitor.scrapeTimeout is %s and interval %s; expected at most the interval, or the Prometheus operator rejects the PodMonitor" .scrapeTimeout .interval) -}}
  {{- end -}}
{{- end -}}

{{- if and (eq $values.cache.kind "hostPath") (not $values.cache.hostPath) -}}
  {{- fail "cache.hostPath is not set with cache.kind: hostPath; expected a folder of the node that uid 10001 may write" -}}
{{- end -}}
{{- if and (ne $values.cache.kind "hostPath") $values.cache.hostPath -}}
  {{- fail (printf "cache.hostPath is %s with cache.kind: %s; expected cache.kind: hostPath" $values.cache.hostPath $values.cache.kind) -}}
{{- end -}}
{{- if and (ne $values.cache.kind "ephemeralVolume") $values.cache.storageClassName -}}
  {{- fail (printf "cache.storageClassName is %s with cache.kind: %s; expected cache.kind: ephemeralVolume" $values.cache.storageClassName $values.cache.kind) -}}
{{- end -}}

{{- if not (or $values.serviceAccount.create $values.serviceAccount.name) -}}
  {{- fail "serviceAccount.name is not set with serviceAccount.create: false; expected the name of an existing one" -}}
{{- end -}}
{{- if and (not $values.serviceAccount.create) $values.serviceAccount.annotations -}}
  {{- fail "serviceAccount.annotations are set with serviceAccount.create: false; expected none: annotate the existing account" -}}
{{- end -}}
{{- if and $values.credentials.existingSecret (hasKey $values.serviceAccount.annotations "eks.amazonaws.com/role-arn") -}}
  {{- fail "credentials.existingSecret and serviceAccount.annotations.eks.amazonaws.com/role-arn are both set; expected one: keys would win over the role, silently" -}}
{{- end -}}
{{- if and $values.auth.existingSecret (eq $values.auth.mode "disabled") -}}
  {{- fail "auth.existingSecret is set with auth.mode: disabled; expected auth.mode: token" -}}
{{- end -}}

{{- $seen := dict -}}
{{- range $index, $entry := $values.extraEnv -}}
  {{- if hasKey $seen $entry.name -}}
    {{- fail (printf "extraEnv[%d] sets %s again, after extraEnv[%d]; expected each name once, because Kubernetes merges them by name" $index $entry.name (get $seen $entry.name)) -}}
  {{- end -}}
  {{- $_ := set $seen $entry.name $index -}}
  {{- /* Matches whole words (not MAX_TOKENS). The path of a secret (AWS_WEB_IDENTITY_TOKEN_FILE) or a
       switch is not a secret. */}}
  {{- $isSecret := regexMatch "(?i)(^|_)(SECRET|[A-Z0-9]*PASSWORD|PASSWD|PASSPHRASE|TOKEN|CREDENTIALS?|APIKEY|(ACCESS|API|PRIVATE|SECRET)_KEY)(_|$)" $entry.name -}}
  {{- $isAbout := regexMatch "(?i)_(FILE|PATH|DIR|URL|URI|ENDPOINT|NAME|ARN|ENABLED|DISABLED|TTL|TIMEOUT|SECONDS)$" $entry.name -}}
  {{- if and (hasKey $entry "value") $isSecret (not $isAbout) (not (has $entry.name ($values.extraEnvNotSecret | default list))) -}}
    {{- fail (printf "extraEnv[%d] gives %s a value, and its name is that of a secret; expected valueFrom.secretKeyRef, or the name in extraEnvNotSecret if the value is not a secret" $index $entry.name) -}}
  {{- end -}}
  {{- if regexMatch "://[^/?#@]*:[^/?#@]+@" ($entry.value | default "") -}}
    {{- fail (printf "extraEnv[%d] gives %s an address with a password; expected valueFrom.secretKeyRef with the whole address" $index $entry.name) -}}
  {{- end -}}
  {{- if has $entry.name (list "RAY_ADDRESS" "RAY_AUTH_MODE" "RAY_AUTH_TOKEN" "RAY_JOB_STOP_WAIT_TIME_S" "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S" "RAY_USAGE_STATS_ENABLED") -}}
    {{- fail (printf "extraEnv[%d] sets %s, which the chart or KubeRay sets; expected another name (see auth and termination)" $index $entry.name) -}}
  {{- end -}}
  {{- if and $values.credentials.existingSecret (hasPrefix "AWS_" $entry.name) (has $entry.name (list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN" "AWS_REGION" "AWS_CONFIG_FILE" "AWS_SHARED_CREDENTIALS_FILE" "AWS_PROFILE" "AWS_WEB_IDENTITY_TOKEN_FILE")) -}}
    {{- fail (printf "extraEnv[%d] sets %s, and credentials.existingSecret is set; expected one of them, because boto3 takes one source of keys" $index $entry.name) -}}
  {{- end -}}
{{- end -}}
{{- $names := list "ray-head" "ray-worker" "ray-job-submitter" "autoscaler" "preflight" "wait-gcs-ready" -}}
{{- range $field := list "extraInitContainers" "extraContainers" -}}
  {{- range $index, $container := get $values $field | default list -}}
    {{- if has $container.name $names -}}
      {{- fail (printf "%s[%d] is named %s, which another container has; expected another name" $field $index $container.name) -}}
    {{- end -}}
    {{- $names = append $names $container.name -}}
  {{- end -}}
{{- end -}}
{{- range $index, $volume := $values.extraVolumes -}}
  {{- if has $volume.name (list "config" "tmp" "home" "shm" "cache" "keys") -}}
    {{- fail (printf "extraVolumes[%d] is named %s, which the chart uses; expected another name" $index $volume.name) -}}
  {{- end -}}
{{- end -}}
{{- /* Without shm and cache: the pod of `helm test` has neither, and the head has no cache. */}}
{{- $volumes := list "config" "tmp" "home" -}}
{{- range $values.extraVolumes -}}{{- $volumes = append $volumes .name -}}{{- end -}}
{{- range $index, $mount := $values.extraVolumeMounts -}}
  {{- if not (has $mount.name $volumes) -}}
    {{- fail (printf "extraVolumeMounts[%d] names the volume %s; expected one of extraVolumes" $index $mount.name) -}}
  {{- end -}}
  {{- if has (clean $mount.mountPath) (list "/etc/dcgan-train" "/etc/dcgan-train-keys" "/tmp" "/home/dcgan" "/dev/shm" "/cache") -}}
    {{- fail (printf "extraVolumeMounts[%d] is at %s, where the chart mounts its own volume; expected another path" $index $mount.mountPath) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
