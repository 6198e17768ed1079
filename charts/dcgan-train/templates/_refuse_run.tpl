{{/* Reject runs that the program would reject (job/config/check.py, job/storage/uri.py);
     tests/charts/test_refused_run.py compares the two. */}}

{{/* The run as the program reads it: defaults, preset, run.yaml. Only the defaults checked here. */}}
{{- define "dcgan-train.resolvedRun" -}}
{{- $run := include "dcgan-train.runYaml" . | fromYaml -}}
{{- $defaults := (.Files.Get "files/run.json" | fromJson).defaults -}}
{{- mergeOverwrite (deepCopy (get $defaults ($run.preset | default ""))) $run | toJson -}}
{{- end -}}

{{- define "dcgan-train.refuseRun" -}}
{{- $run := include "dcgan-train.resolvedRun" . | fromJson -}}
{{- include "dcgan-train.refuseNumbers" . -}}

{{- $uris := dict "run.uri" $run.uri "run.data.uri" $run.data.uri -}}
{{- if not (has $run.checkpoints.resume (list "auto" "never")) -}}{{- $_ := set $uris "run.checkpoints.resume" $run.checkpoints.resume -}}{{- end -}}
{{- range $key, $uri := $uris -}}
  {{- if not $uri -}}{{- fail (printf "%s is not set; expected s3://bucket/prefix" $key) -}}{{- end -}}
  {{- if and (hasPrefix "file://" $uri) (not $.Values.extraVolumeMounts) -}}
    {{- fail (printf "%s is %s, and extraVolumeMounts is empty; expected s3://bucket/prefix, or a volume that all pods share" $key $uri) -}}
  {{- end -}}
  {{- with include "dcgan-train.wrongUri" $uri -}}{{- fail (printf "%s is %s; expected %s" $key $uri .) -}}{{- end -}}
{{- end -}}
{{- if eq (regexReplaceAll "/+$" $run.uri "") (regexReplaceAll "/+$" $run.data.uri "") -}}
  {{- fail (printf "run.uri and run.data.uri are both %s; expected a run folder apart from the images" $run.uri) -}}
{{- end -}}
{{- if not (kindIs "invalid" $run.storage.endpoint_url) -}}
  {{- $endpoint := $run.storage.endpoint_url -}}
  {{- if contains "@" $endpoint -}}
    {{- fail "run.storage.endpoint_url holds a user or password; expected only http(s)://host:port. Put keys into the Secret of credentials.existingSecret" -}}
  {{- end -}}
  {{- $port := trimPrefix ":" (regexFind ":[0-9]+$" (regexFind "^[a-zA-Z]+://[^/?#]+" $endpoint)) | default "443" -}}
  {{- $isAddress := regexMatch "^(?i:https?)://([^][/?#:@\\s]+|\\[[0-9a-fA-F:.]+\\])(:[0-9]{0,5})?([/?#].*)?$" $endpoint -}}
  {{- if not (and $isAddress (ge (atoi $port) 1) (le (atoi $port) 65535)) -}}
    {{- fail (printf "run.storage.endpoint_url is %q; expected http://host:port or https://host[:port]" $endpoint) -}}
  {{- end -}}
{{- end -}}
{{- if and (not (kindIs "invalid" $run.storage.kms_key_id)) (not (hasPrefix "aws:kms" (default "" $run.storage.server_side_encryption))) -}}
  {{- fail (printf "run.storage.kms_key_id is set, and run.storage.server_side_encryption is %s; expected aws:kms or aws:kms:dsse with a key" ($run.storage.server_side_encryption | default "unset")) -}}
{{- end -}}

{{- include "dcgan-train.refuseWaits" $run -}}
{{- include "dcgan-train.refuseModel" $run -}}

{{- $workers := $run.workers -}}
{{- $gpus := max 1 (int $workers.gpus) -}}
{{- $batch := int $run.training.global_batch_size -}}
{{- $streams := int (default 1 $run.data.streams) -}}
{{- if mod $batch $streams -}}
  {{- fail (printf "run.data.streams is %d; expected a divisor of run.training.global_batch_size, which is %d" $streams $batch) -}}
{{- end -}}
{{- range $number := untilStep (int (default $workers.count $workers.min)) (add1 (int (default $workers.count $workers.max)) | int) 1 -}}
  {{- $replicas := mul $number $gpus -}}
  {{- if mod $batch $replicas -}}
    {{- $below := sub $batch (mod $batch $replicas) -}}
    {{- $examples := ternary (printf "%d or %d" $below (add $below $replicas)) (printf "%d" $replicas) (gt $below 0) -}}
    {{- $with := ternary "" (printf " of %d GPUs each" $gpus) (eq (int $workers.gpus) 0) -}}
    {{- fail (printf "run.training.global_batch_size is %d; expected a multiple of the %d replicas of %d workers%s (for example %s), and of those of any number from workers.min to workers.max" $batch $replicas $number $with $examples) -}}
  {{- end -}}
{{- end -}}
{{- $training := $run.training -}}
{{- if and (kindIs "invalid" $training.epochs) (kindIs "invalid" $training.steps) -}}
  {{- fail "run.training.epochs and run.training.steps are both unset; expected one of them" -}}
{{- end -}}
{{- if and (eq $training.updates "simultaneous") $run.model.discriminator.normalize -}}
  {{- fail "run.training.updates is simultaneous and run.model.discriminator.normalize is true; expected updates: alternating with batch normalization in the discriminator" -}}
{{- end -}}
{{- if and $training.jit_compile (eq $training.batch_norm "synchronized") -}}
  {{- fail "run.training.jit_compile is true and run.training.batch_norm is synchronized; expected batch_norm: local" -}}
{{- end -}}
{{- end -}}

{{/* Numbers given as text, whose size values.schema.json cannot check. */}}
{{- define "dcgan-train.refuseNumbers" -}}
{{- range $key, $limits := (.Files.Get "files/run.json" | fromJson).limits -}}
  {{- $value := $.Values.run -}}
  {{- range splitList "." $key -}}{{- $value = get (default dict $value) . | default nil -}}{{- end -}}
  {{- if kindIs "string" $value -}}
    {{- $number := float64 $value -}}
    {{- if and (hasKey $limits "above") (le $number (float64 $limits.above)) -}}
      {{- fail (printf "run.%s is %s; expected more than %v" $key $value $limits.above) -}}
    {{- end -}}
    {{- if and (hasKey $limits "minimum") (lt $number (float64 $limits.minimum)) -}}
      {{- fail (printf "run.%s is %s; expected at least %v" $key $value $limits.minimum) -}}
    {{- end -}}
    {{- if and (hasKey $limits "maximum") (gt $number (float64 $limits.maximum)) -}}
      {{- fail (printf "run.%s is %s; expected at most %v" $key $value $limits.maximum) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* What was expected in place of an invalid URI; empty for a valid one. */}}
{{- define "dcgan-train.wrongUri" -}}
{{- if hasPrefix "file://" . -}}
  {{- if not (hasPrefix "file:///" .) -}}file:///folder, with three slashes{{- end -}}
{{- else if not (hasPrefix "s3://" .) -}}s3://bucket/prefix
{{- else -}}
  {{- $bucket := regexFind "^[^/]*" (trimPrefix "s3://" .) -}}
  {{- $prefix := trimAll "/" (trimPrefix (printf "s3://%s" $bucket) .) -}}
  {{- $accessPoint := "arn:aws[a-z-]*:s3(-object-lambda)?:[a-z0-9-]*:[0-9]{12}:accesspoint:[a-zA-Z0-9.-]{1,63}" -}}
  {{- $outpost := "arn:aws[a-z-]*:s3-outposts:[a-z0-9-]+:[0-9]{12}:outpost:[a-zA-Z0-9-]{1,63}:accesspoint:[a-zA-Z0-9-]{1,63}" -}}
  {{- if not $bucket -}}s3://bucket/prefix, with the name of a bucket
  {{- else if not (regexMatch (printf "^([a-zA-Z0-9._-]{1,255}|%s|%s)$" $accessPoint $outpost) $bucket) -}}
    the name of a bucket of letters, digits, dots and hyphens, or an access point as arn:aws:s3:REGION:ACCOUNT:accesspoint:NAME
  {{- else if hasSuffix "--x-s3" $bucket -}}a general purpose bucket: directory buckets of S3 Express are not supported
  {{- else if $prefix -}}
    {{- range splitList "/" $prefix -}}
      {{- if or (has . (list "" "." "..")) (hasPrefix ".~" .) (contains "\x00" .) -}}
        a prefix of names joined by single slashes, none of them . or .. or beginning with .~
        {{- break -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes the resolved run. */}}
{{- define "dcgan-train.refuseWaits" -}}
{{- $watchdog := .watchdog -}}
{{- $patience := float64 .data.fetch_patience_seconds -}}
{{- $request := ternary (mulf 2 (addf (float64 .storage.connect_timeout_seconds) (float64 .storage.read_timeout_seconds))) 0.0 (hasPrefix "s3://" .uri) -}}
{{- $limits := list
  (list "checkpoint_seconds" (float64 .checkpoints.fail_after_seconds) "run.checkpoints.fail_after_seconds")
  (list "train_seconds" $patience "run.data.fetch_patience_seconds")
  (list "start_seconds" (addf (mulf 2 $patience) (float64 .checkpoints.grace_seconds) $request) "twice run.data.fetch_patience_seconds, run.checkpoints.grace_seconds and two requests of the store")
-}}
{{- if hasPrefix "s3://" .uri -}}
  {{- $limits = append $limits (list "train_seconds" (addf 20 $request) "20 s and two requests of the store (run.storage.connect_timeout_seconds, run.storage.read_timeout_seconds)") -}}
{{- end -}}
{{- range $limits -}}
  {{- $name := index . 0 -}}{{- $wait := index . 1 -}}{{- $value := float64 (get $watchdog $name) -}}
  {{- if and (gt $value 0.0) (le $value $wait) -}}
    {{- fail (printf "run.watchdog.%s is %v; expected more than %v (%s), because waiting for a store is not a hang, or 0 for no limit" $name $value $wait (index . 2)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes the resolved run. */}}
{{- define "dcgan-train.refuseModel" -}}
{{- $model := .model -}}
{{- $sides := $model.image_size -}}
{{- if not (kindIs "slice" $sides) -}}{{- $sides = list $sides -}}{{- end -}}
{{- range $network := list "generator" "discriminator" -}}
  {{- $filters := (index $model $network).filters -}}
  {{- if gt (len $filters) 16 -}}
    {{- fail (printf "run.model.%s.filters has %d entries; expected at most 16, each of which is a factor of 2 in image size" $network (len $filters)) -}}
  {{- end -}}
{{- end -}}
{{- $multiple := 1 -}}{{- range $model.generator.filters -}}{{- $multiple = mul $multiple 2 -}}{{- end -}}
{{- $smallest := 1 -}}{{- range $model.discriminator.filters -}}{{- $smallest = mul $smallest 2 -}}{{- end -}}
{{- range $sides -}}
  {{- if mod (int .) $multiple -}}
    {{- fail (printf "run.model.image_size has a side of %d; expected a multiple of %d, because each of the %d entries of run.model.generator.filters doubles it" (int .) $multiple (len $model.generator.filters)) -}}
  {{- end -}}
  {{- if lt (int .) (int $smallest) -}}
    {{- fail (printf "run.model.image_size has a side of %d; expected at least %d, because each of the %d entries of run.model.discriminator.filters halves it" (int .) $smallest (len $model.discriminator.filters)) -}}
  {{- end -}}
{{- end -}}
{{- if eq (int $model.channels) 2 -}}
  {{- fail "run.model.channels is 2; expected 1 for grey or 3 for RGB" -}}
{{- end -}}
{{- if and (eq $model.generator.upsampling "subpixel") (not (mod (int $model.generator.kernel_size) 2)) -}}
  {{- fail (printf "run.model.generator.kernel_size is %d with upsampling: subpixel; expected an odd number" (int $model.generator.kernel_size)) -}}
{{- end -}}
{{- if and $model.generator.embedding_size (not $model.conditional) -}}
  {{- fail "run.model.generator.embedding_size is set and run.model.conditional is not; expected both or neither" -}}
{{- end -}}
{{- end -}}
