{{/* run.yaml, and the numbers derived from it. */}}

{{- define "dcgan-train.gpus" -}}
{{- if kindIs "invalid" .Values.workers.gpus -}}{{ ternary 1 0 (eq .Values.profile "gpu") }}{{- else -}}{{ int .Values.workers.gpus }}{{- end -}}
{{- end -}}

{{/* "true" if the number of workers may change. */}}
{{- define "dcgan-train.isElastic" -}}
{{- $workers := .Values.workers -}}
{{- $count := int $workers.count -}}
{{- if or (lt (int (default $count $workers.min)) $count) (gt (int (default $count $workers.max)) $count) -}}true{{- end -}}
{{- end -}}

{{- define "dcgan-train.isAutoscaled" -}}
{{- if .Values.workers.autoscaler -}}{{ include "dcgan-train.isElastic" . }}{{- end -}}
{{- end -}}

{{/* Seconds of a Prometheus duration such as 15s or 2m. */}}
{{- define "dcgan-train.seconds" -}}
{{- mul (ternary 60 1 (hasSuffix "m" .)) (int (regexFind "^[0-9]+" .)) -}}
{{- end -}}

{{/* The scrape interval in seconds. */}}
{{- define "dcgan-train.scrapeSeconds" -}}
{{- include "dcgan-train.seconds" .Values.monitoring.podMonitor.interval -}}
{{- end -}}

{{/* The user's value, or one that is longer than a scrape interval: after a stop, workers serve their
     last values for 5 s less than it. */}}
{{- define "dcgan-train.graceSeconds" -}}
{{- $grace := dig "checkpoints" "grace_seconds" (max 25 (add (int (include "dcgan-train.scrapeSeconds" .)) 10)) .Values.run -}}
{{- ceil (float64 $grace) | int -}}
{{- end -}}

{{/* Seconds for the driver's last checkpoint and its exit. */}}
{{- define "dcgan-train.stopSeconds" -}}
{{- add (int (include "dcgan-train.graceSeconds" .)) 10 -}}
{{- end -}}

{{- define "dcgan-train.neededGraceSeconds" -}}
{{- max (int (include "dcgan-train.stopSeconds" .)) (int .Values.termination.drainSeconds) -}}
{{- end -}}

{{- define "dcgan-train.gracePeriodSeconds" -}}
{{- $own := .Values.termination.gracePeriodSeconds -}}
{{- if kindIs "invalid" $own -}}{{ add (int (include "dcgan-train.neededGraceSeconds" .)) 20 }}{{- else -}}{{ int $own }}{{- end -}}
{{- end -}}

{{/* Seconds of two scrapes, so that the last values are seen. */}}
{{- define "dcgan-train.lingerSeconds" -}}
{{- mul 2 (int (include "dcgan-train.scrapeSeconds" .)) -}}
{{- end -}}

{{- define "dcgan-train.runYaml" -}}
{{- $workers := .Values.workers -}}
{{- /* Ray counts a pod of less than a core as one core, and would place two workers of half a core in
       one pod and none in the other. */}}
{{- $cpus := ternary 1 $workers.cpus (lt (float64 $workers.cpus) 1.0) -}}
{{- $placed := dict "count" (int $workers.count) "cpus" $cpus "gpus" (int (include "dcgan-train.gpus" .)) -}}
{{- if not (kindIs "invalid" $workers.min) -}}{{- $_ := set $placed "min" (int $workers.min) -}}{{- end -}}
{{- if not (kindIs "invalid" $workers.max) -}}{{- $_ := set $placed "max" (int $workers.max) -}}{{- end -}}
{{- $ours := dict
  "workers" $placed
  "data" (dict "cache_dir" "/cache" "cache_bytes" (div (mul (int .Values.cache.sizeGiB) 1073741824 9) 10))
  "metrics" (dict "port" 9090)
-}}
{{- /* An upgrade starts the new run while the old one still saves: the new one waits for the run
       folder instead of being rejected. */ -}}
{{- $soft := dict
  "checkpoints" (dict "lease_wait_seconds" (int (include "dcgan-train.gracePeriodSeconds" .)))
  "metrics" (dict "linger_seconds" (int (include "dcgan-train.lingerSeconds" .)))
-}}
{{- $grace := int (include "dcgan-train.graceSeconds" .) -}}
{{- if ne $grace 25 -}}{{- $_ := set $soft.checkpoints "grace_seconds" $grace -}}{{- end -}}
{{- /* A restart waits for the last save of the attempt before it: the watchdog's 900 s include a grace of 25. */}}
{{- if gt $grace 25 -}}{{- $_ := set $soft "watchdog" (dict "start_seconds" (add 875 $grace)) -}}{{- end -}}
{{- toYaml (mergeOverwrite $soft (deepCopy .Values.run) $ours) -}}
{{- end -}}

{{/* The content of the ConfigMap, whose name has a hash of it. */}}
{{- define "dcgan-train.configData" -}}
run.yaml: |
  {{- include "dcgan-train.runYaml" . | nindent 2 }}
{{- range list "stop.py" "credentials.py" "aws-config" }}
{{ . }}: |
  {{- $.Files.Get (printf "files/%s" .) | nindent 2 }}
{{- end }}
{{- end -}}
