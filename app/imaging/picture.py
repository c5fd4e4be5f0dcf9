"""A picture with what was found on it, as a JPEG."""

import cv2

from app.errors import InvalidInput
from app.imaging.annotate import annotate
from app.imaging.codec import decode_image

JPEG_QUALITY = 90


def annotated_jpeg(content: object, result: object) -> bytes:
    """Raises InvalidInput where the content is no picture or nothing of the result can be drawn."""
    image = annotate(decode_image(content), result)
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise InvalidInput("the annotated picture cannot be encoded as a JPEG")
    return encoded.tobytes()
