"""Which properties the REST side takes: allow-lists from reference/vapi.md §3, §4.1, §9, §11, §13.

What a bridge does not touch (voices, transcribers, hooks, …) is taken as it comes; all else is strict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from web.twins.vapi.checks import Check, anything, flag, items, number, one_of, record, text
from web.twins.vapi.problems import Problem

__all__ = [
    "ASSISTANT",
    "CALL",
    "CALL_PATCH",
    "CLIENT_DEFAULT",
    "CREDENTIAL",
    "PHONE_NUMBERS",
    "SERVER_DEFAULT",
    "refuse",
]


def _names(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


CLIENT_DEFAULT = _names(
    "conversation-update function-call hang model-output speech-update status-update transfer-update transcript "
    "tool-calls user-interrupted voice-input workflow.node.started assistant.started"
)
SERVER_DEFAULT = _names(
    "conversation-update end-of-call-report function-call hang speech-update status-update tool-calls "
    "transfer-destination-request handoff-destination-request user-interrupted assistant.started"
)
_EITHER = _names(
    'transcript[transcriptType="final"] assistant.speechStarted language-changed language-change-detected chat.created '
    "chat.deleted session.created session.updated session.deleted"
)
_CLIENT = one_of(*CLIENT_DEFAULT, *_EITHER, *_names("function-call-result metadata tool-calls-result tool.completed"))
_SERVER = one_of(
    *SERVER_DEFAULT,
    *_EITHER,
    *_names(
        "transcript model-output phone-call-control transfer-update voice-input call.deleted call.delete.failed "
        "call.artifact.upload"
    ),
)

_LABEL = text(most=40)
_PHONE = text(most=40)


def _free(names: str) -> dict[str, Check]:
    return dict.fromkeys(_names(names), anything)


_BACKOFF = record(
    {
        "type": one_of("fixed", "exponential"),
        "maxRetries": number(0, 10),
        "baseDelaySeconds": number(0, 10),
        "excludedStatusCodes": items(number(100, 599)),
    },
    need=("type", "maxRetries", "baseDelaySeconds"),
)
_SERVER_AT = record(
    {
        "url": text(like=r"https?://\S+"),
        "timeoutSeconds": number(1, 300),
        "credentialId": text(),
        "headers": anything,
        "backoffPlan": _BACKOFF,
        "staticIpAddressesEnabled": flag,
        "encryptedPaths": items(text()),
        "secret": text(),  # legacy, still honoured (§9)
    }
)
_FUNCTION = record(
    {
        "name": text(like=r"[A-Za-z0-9_-]{1,64}"),
        "description": text(most=999),
        "parameters": anything,
        "strict": flag,
    },
    need=("name",),
)
_TOOL_MESSAGE = record(
    {
        "type": one_of("request-start", "request-response-delayed", "request-complete", "request-failed"),
        "timingMilliseconds": number(100, 120_000),
        "content": text(),
        "blocking": flag,
        "endCallAfterSpokenEnabled": flag,
        **_free("contents conditions role"),
    },
    need=("type",),
)
_FUNCTION_TOOL = record(
    {
        "type": one_of("function"),
        "function": _FUNCTION,
        "server": _SERVER_AT,
        "async": flag,
        "messages": items(_TOOL_MESSAGE),
        **_free("parameters variableExtractionPlan rejectionPlan"),
    },
    need=("type", "function"),
)


def _tool(value: object, path: str) -> Iterator[str]:
    """Function tools are checked; the other types (§8.1) are taken as they come, and the twin never calls them."""
    if isinstance(value, dict) and value.get("type") not in ("function", None):
        return anything(value, path)
    return _FUNCTION_TOOL(value, path)


_MODEL = record(
    {
        "provider": text(),
        "model": text(),
        "messages": items(record(_free("role content name tool_calls tool_call_id"), need=("role",))),
        "tools": items(_tool),
        "toolIds": items(text()),
        "temperature": number(0, 2),
        "maxTokens": number(1, 10_000),
        "timeoutSeconds": number(0, 300),
        **_free(
            "url toolRefs knowledgeBase knowledgeBaseId emotionRecognitionEnabled numFastTurns fallbackModels headers "
            "metadataSendMode wordLevelConfidenceEnabled toolStrictCompatibilityMode promptCacheRetention "
            "promptCacheKey serviceTier reasoningEffort speaker reasoner"
        ),
    },
    need=("provider", "model"),
)


def _provided(value: object, path: str) -> Iterator[str]:
    """A voice or a transcriber: it has a provider, and the rest is that provider's."""
    if not isinstance(value, dict):
        return iter([f"{path} must be an object"])
    return iter([] if value.get("provider") else [f"{path}.provider should not be empty"])


_ASSISTANT_FIELDS: dict[str, Check] = {
    "name": _LABEL,
    "firstMessage": text(),
    "firstMessageMode": one_of(
        "assistant-speaks-first",
        "assistant-waits-for-user",
        "assistant-speaks-first-with-model-generated-message",
    ),
    "firstMessageInterruptionsEnabled": flag,
    "model": _MODEL,
    "voice": _provided,
    "transcriber": _provided,
    "clientMessages": items(_CLIENT),
    "serverMessages": items(_SERVER),
    "server": _SERVER_AT,
    "maxDurationSeconds": number(10, 43_200),
    "stopSpeakingPlan": record(
        {
            "numWords": number(0, 10),
            "voiceSeconds": number(0, 0.5),
            "backoffSeconds": number(0, 10),
            "acknowledgementPhrases": items(text()),
            "interruptionPhrases": items(text()),
        }
    ),
    "startSpeakingPlan": record(
        {
            "waitSeconds": number(0, 5),
            "smartEndpointingEnabled": anything,
            "smartEndpointingPlan": _provided,
            **_free("customEndpointingRules transcriptionEndpointingPlan"),
        }
    ),
    "monitorPlan": record(
        {
            "listenEnabled": flag,
            "listenAuthenticationEnabled": flag,
            "controlEnabled": flag,
            "controlAuthenticationEnabled": flag,
            "monitorIds": items(text()),
        }
    ),
    "artifactPlan": record(
        _free(
            "recordingEnabled recordingFormat recordingUseCustomStorageEnabled videoRecordingEnabled "
            "fullMessageHistoryEnabled pcapEnabled pcapS3PathPrefix pcapUseCustomStorageEnabled loggingEnabled "
            "loggingUseCustomStorageEnabled transcriptPlan recordingPath structuredOutputIds structuredOutputs "
            "scorecardIds scorecards loggingPath"
        )
    ),
    "analysisPlan": record(
        _free(
            "minMessagesThreshold summaryPlan structuredDataPlan structuredDataMultiPlan successEvaluationPlan "
            "outcomeIds"
        )
    ),
    "endCallMessage": text(),
    "endCallPhrases": items(text()),
    "hooks": items(anything),
    "credentialIds": items(text()),
    **_free(
        "voicemailDetection voicemailMessage backgroundSound backgroundSpeechDenoisingPlan keypadInputPlan "
        "compliancePlan observabilityPlan transportConfigurations metadata modelOutputInMessagesEnabled credentials"
    ),
}
ASSISTANT = record(_ASSISTANT_FIELDS)
_OVERRIDES = record({**_ASSISTANT_FIELDS, "variableValues": anything, "tools:append": items(_tool)})
_CUSTOMER = record(
    {
        "number": _PHONE,
        "numberE164CheckEnabled": flag,
        "extension": text(most=10),
        "sipUri": text(),
        "name": _LABEL,
        "email": _LABEL,
        "externalId": _LABEL,
        "assistantOverrides": _OVERRIDES,
        "squadOverrides": anything,
    }
)
_WEBSOCKET = record(
    {
        "provider": one_of("vapi.websocket"),
        "conversationType": one_of("voice", "chat"),
        "audioFormat": record(
            {
                "format": one_of("pcm_s16le", "mulaw"),
                "container": one_of("raw"),
                "sampleRate": number(0, 192_000),
            },
            need=("format", "sampleRate"),
        ),
    }
)


def _transport(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value.get("provider") == "vapi.websocket":
        return _WEBSOCKET(value, path)
    return _provided(value, path)


_NUMBER_FIELDS: dict[str, Check] = {
    "name": _LABEL,
    "assistantId": text(),
    "squadId": text(),
    "workflowId": text(),
    "server": _SERVER_AT,
    **_free("fallbackDestination hooks"),
}
_TWILIO_FIELDS: dict[str, Check] = {
    "twilioAccountSid": text(),
    "twilioAuthToken": text(),
    "twilioApiKey": text(),
    "twilioApiSecret": text(),
    "smsEnabled": flag,
}
CALL = record(
    {
        "assistantId": text(),
        "assistant": ASSISTANT,
        "assistantOverrides": _OVERRIDES,
        "assistantVersion": text(),
        "transport": _transport,
        "phoneNumberId": text(),
        "phoneNumber": record(
            {"twilioPhoneNumber": _PHONE, **_TWILIO_FIELDS, **_NUMBER_FIELDS},
            need=("twilioPhoneNumber", "twilioAccountSid"),
        ),
        "customerId": text(),
        "customer": _CUSTOMER,
        "customers": items(_CUSTOMER),
        "schedulePlan": record({"earliestAt": text(), "latestAt": text()}, need=("earliestAt",)),
        "name": _LABEL,
        "phoneCallProviderBypassEnabled": flag,
        **_free("squadId squad squadOverrides squadVersion workflowId workflow workflowOverrides metadata"),
    }
)
CALL_PATCH = record({"name": _LABEL})

_TWILIO_NUMBER = {"provider": one_of("twilio"), "number": _PHONE, **_TWILIO_FIELDS, **_NUMBER_FIELDS}
_VAPI_NUMBER = {
    "provider": one_of("vapi"),
    **_NUMBER_FIELDS,
    **_free("numberDesiredAreaCode sipUri authentication"),
}
PHONE_NUMBERS: Mapping[str, tuple[Check, Check]] = {
    "twilio": (record(_TWILIO_NUMBER, need=("number", "twilioAccountSid")), record(_TWILIO_NUMBER)),
    "vapi": (record(_VAPI_NUMBER), record(_VAPI_NUMBER)),
}
"""By provider: how one is created, how one is changed."""

_BEARER = record(
    {"type": one_of("bearer"), "token": text(), "headerName": text(), "bearerPrefixEnabled": flag}, need=("token",)
)
_HMAC = record(
    {
        "type": one_of("hmac"),
        "secretKey": text(),
        "algorithm": one_of("sha256", "sha512", "sha1"),
        "signatureHeader": text(),
        "timestampHeader": text(),
        "signaturePrefix": text(),
        "includeTimestamp": flag,
        "payloadFormat": text(),
        "messageIdHeader": text(),
        "signatureEncoding": one_of("hex", "base64"),
        "secretIsBase64": flag,
    },
    need=("secretKey", "algorithm"),
)


def _plan(value: object, path: str) -> Iterator[str]:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("bearer", "hmac"):  # oauth2 is Vapi's third; the twin has no token server to ask
        return one_of("bearer", "hmac")(kind, f"{path}.type")
    return (_BEARER if kind == "bearer" else _HMAC)(value, path)


CREDENTIAL = record(
    {"provider": one_of("webhook"), "name": _LABEL, "authenticationPlan": _plan},
    need=("provider", "authenticationPlan"),
)


def refuse(check: Check, body: object) -> None:
    """Nothing, if the body is what the check allows.

    Raises:
        Problem: 400 with a line for each thing that is wrong.
    """
    wrong = list(check(body, ""))
    if wrong:
        raise Problem(400, wrong)
