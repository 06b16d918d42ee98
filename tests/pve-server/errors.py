"""What the API answers when it refuses: the status line's words are the message's first line."""


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(self, status, message, errors=None):
        super().__init__(message)
        self.status, self.message, self.errors = status, message, errors

    @property
    def reason(self):
        return self.message.split('\n', 1)[0]


def reason(error):
    """What an error says, in one piece."""
    return (error.message if isinstance(error, ApiError) else str(error)).strip() or type(error).__name__


def failed(text):
    """Nearly everything that goes wrong: there is neither 404 nor 409 in this API."""
    return ApiError(500, text + '\n')


def refused(errors):
    return ApiError(400, 'Parameter verification failed.\n', errors)


def forbidden(what=None):
    return ApiError(403, 'Permission check failed' + (f' ({what})' if what else '') + '\n')
